"""Bytes to the browser: veiled until asked for, by range, and never as anything that could run."""

import re

import pytest

from archive import access, jobs, vault
from archive.models import CustodyEvent, Item, Rendition
from tests import cast

pytestmark = [pytest.mark.embedded, pytest.mark.django_db, pytest.mark.slow]


@pytest.fixture
def reader():
    return cast.person("researcher")


@pytest.fixture
def photo(reader) -> Item:
    return examined(cast.item(cast.case(owner=reader), cast.jpeg(640, 480, seed=77)))


@pytest.fixture
def clip(reader) -> Item:
    return examined(cast.item(cast.case(owner=reader), cast.mp4(), name="clip.mp4"))


def examined(item: Item) -> Item:
    while jobs.run_waiting("archive.examine", most=20):
        continue
    item.refresh_from_db()
    assert item.condition == "ok", item.condition_detail
    return item


def rendition(item: Item, kind: str) -> str:
    return f"/renditions/{item.renditions.get(kind=kind).pk}"


def events(item: Item, type: str) -> int:
    return CustodyEvent.objects.filter(subject=item.custody_subject(), type=type).count()


def body(response) -> bytes:
    return b"".join(response.streaming_content)


def test_a_veil_needs_the_case_only(photo, reader):
    response = cast.browser(reader).get(rendition(photo, "veil"))
    assert response.status_code == 200
    assert response["Content-Type"] == "image/jpeg"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in response["Content-Security-Policy"]
    assert events(photo, "item.viewed") == 0


@pytest.mark.parametrize("kind", ["view", "thumbnail"])
def test_nothing_sharp_leaves_before_a_look_is_recorded(photo, reader, kind):
    browser = cast.browser(reader)
    assert browser.get(rendition(photo, kind)).status_code == 404
    assert events(photo, "item.viewed") == 0


def test_a_look_is_one_event_and_opens_the_sharp_picture(photo, reader):
    browser = cast.browser(reader)
    answer = browser.post(f"/items/{photo.pk}/reveal", headers={"accept": "application/json"})
    assert answer.json()["src"] == rendition(photo, "view")
    response = browser.get(answer.json()["src"])
    assert response.status_code == 200
    assert response["Cache-Control"] == "private, no-store"
    browser.get(answer.json()["src"])
    assert events(photo, "item.viewed") == 1


def test_a_look_of_one_person_opens_nothing_for_another(photo, reader):
    other = cast.person("observer")
    cast.share(photo.case, other)
    cast.browser(reader).post(f"/items/{photo.pk}/reveal")
    assert cast.browser(other).get(rendition(photo, "view")).status_code == 404


@pytest.mark.parametrize("what", ["veil", "view"])
def test_a_stranger_to_the_case_finds_nothing(photo, what):
    assert cast.browser(cast.person("administrator")).get(rendition(photo, what)).status_code == 404


def test_signed_out_people_are_sent_to_the_door(photo, client):
    assert client.get(rendition(photo, "veil"))["Location"].startswith("/signin/")


def test_without_script_looking_leads_back_to_the_page_with_the_picture_and_the_next_item_is_veiled(
    photo, reader
):
    browser = cast.browser(reader)
    sharp = rendition(photo, "view")
    page = f"/items/{photo.pk}/"
    assert sharp not in browser.get(page).content.decode()
    answer = browser.post(f"/items/{photo.pk}/reveal", {"next": page})
    assert answer["Location"] == page
    assert sharp in browser.get(page).content.decode()
    other = examined(cast.item(photo.case))
    assert rendition(other, "view") not in browser.get(f"/items/{other.pk}/").content.decode()
    assert sharp not in browser.get(page).content.decode(), "the veil was not lowered again"


def test_a_form_cannot_lead_to_another_site(photo, reader):
    answer = cast.browser(reader).post(f"/items/{photo.pk}/reveal", {"next": "https://elsewhere.example/"})
    assert answer["Location"] == f"/items/{photo.pk}/"


# --- ranges -----------------------------------------------------------------------------------------------------


@pytest.fixture
def stream(clip, reader):
    browser = cast.browser(reader)
    assert browser.get(f"/items/{clip.pk}/stream").status_code == 404
    browser.post(f"/items/{clip.pk}/reveal")
    return lambda **headers: browser.get(f"/items/{clip.pk}/stream", headers=headers)


def test_ranges_are_answered_as_rfc_9110_says_and_are_no_further_views(clip, stream):
    whole = vault.open(clip.sha256).read()
    parts = {"bytes=0-9": slice(0, 10), "bytes=100-": slice(100, None), "bytes=-7": slice(-7, None)}
    for asked, part in parts.items():
        response = stream(range=asked)
        assert response.status_code == 206
        assert body(response) == whole[part]
        start = part.start if part.start >= 0 else len(whole) + part.start
        assert response["Content-Range"] == f"bytes {start}-{start + len(whole[part]) - 1}/{len(whole)}"

    response = stream(range=f"bytes={clip.size}-")
    assert response.status_code == 416, "behind the end"
    assert response["Content-Range"] == f"bytes */{clip.size}"

    for headers in ({}, {"range": "pages=1-2"}, {"range": "bytes=0-9", "if-range": '"other"'}):
        response = stream(**headers)
        assert response.status_code == 200, "no range of this file"
        assert int(response["Content-Length"]) == clip.size == len(body(response))

    assert events(clip, "item.viewed") == 1


def test_what_browsers_cannot_play_is_streamed_from_its_proxy_only(reader):
    item = examined(cast.item(cast.case(owner=reader), cast.mp4(codec="mpeg4"), name="old.mp4"))
    browser = cast.browser(reader)
    browser.post(f"/items/{item.pk}/reveal")
    assert browser.get(f"/items/{item.pk}/stream").status_code == 404
    while jobs.run_waiting("archive.proxy", most=5):
        continue
    made = item.renditions.get(kind=Rendition.Kind.PROXY)
    response = browser.get(f"/items/{item.pk}/stream")
    assert response["ETag"] == f'"{made.blob_id}"'


def test_a_storyboard_is_given_out_and_drawn_after_a_recorded_look_only(clip, reader):
    jobs.run_waiting("archive.storyboard")
    address = rendition(clip, "storyboard")
    browser = cast.browser(reader)
    assert browser.get(address).status_code == 404
    page = browser.get(f"/items/{clip.pk}/").content.decode()
    assert address not in page and re.search(r'id="storyboard"[^>]* hidden>', page)
    answer = browser.post(f"/items/{clip.pk}/reveal", headers={"accept": "application/json"}).json()
    assert answer["storyboard"] == address
    assert browser.get(address)["Cache-Control"] == "private, no-store"
    page = browser.get(f"/items/{clip.pk}/").content.decode()
    assert address in page and not re.search(r'id="storyboard"[^>]* hidden>', page)


# --- originals and thumbnails -------------------------------------------------------------------------------------


def test_a_download_is_recorded_and_comes_as_an_attachment_of_no_type(photo, reader):
    response = cast.browser(reader).post(f"/items/{photo.pk}/original")
    assert body(response) == vault.open(photo.sha256).read()
    assert response["Content-Type"] == "application/octet-stream"
    assert response["Content-Disposition"] == 'attachment; filename="photo.jpg"'
    assert events(photo, "item.downloaded") == 1


def test_a_download_needs_the_role_and_a_post(photo, reader):
    observer = cast.person("observer")
    cast.share(photo.case, observer)
    assert not access.can(observer, "download", photo.case)
    assert cast.browser(observer).post(f"/items/{photo.pk}/original").status_code == 404
    assert cast.browser(reader).get(f"/items/{photo.pk}/original").status_code == 405
    assert events(photo, "item.downloaded") == 0


def test_thumbnails_without_veil_are_a_recorded_choice_for_one_case(photo, reader):
    browser, case = cast.browser(reader), photo.case
    browser.post(f"/cases/{case.code}/library/thumbnails", {"show": "yes"})
    assert (
        CustodyEvent.objects.filter(subject=case.custody_subject(), type="case.thumbnails_shown").count() == 1
    )
    assert browser.get(rendition(photo, "thumbnail")).status_code == 200
    assert browser.get(rendition(photo, "view")).status_code == 404
    elsewhere = examined(cast.item(cast.case(owner=reader)))
    assert browser.get(rendition(elsewhere, "thumbnail")).status_code == 404
    browser.post(f"/cases/{case.code}/library/thumbnails", {"show": "no"})
    assert browser.get(rendition(photo, "thumbnail")).status_code == 404
