"""Bringing material in by the web: pieces, broken connections, killed processes, duplicates, refusals."""

import base64
import hashlib
import io
import json
import shutil
from pathlib import Path

import pytest
from django.test import Client

from archive import tus, vault
from archive.errors import Conflict
from archive.models import Acquisition, Item, Upload, UploadPart
from tests import cast

pytestmark = pytest.mark.django_db
JSON = {"accept": "application/json"}


@pytest.fixture
def rania():
    return cast.person("researcher")


@pytest.fixture
def case(rania):
    return cast.case(owner=rania, code="RIVER-1")


@pytest.fixture
def web(rania) -> Client:
    return cast.browser(rania)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    """Files over 1,000 bytes are staged; nothing is staged before."""
    monkeypatch.setattr(tus, "DIRECT", 1000)
    for folder in staged():
        shutil.rmtree(folder)


def announce(web: Client, length: int, *, code: str = "RIVER-1", name: str = "clip.mp4", **told: str):
    pairs = {"filename": name, **told}
    metadata = ",".join(f"{k} {base64.b64encode(v.encode()).decode()}" for k, v in pairs.items())
    headers = {"tus-resumable": "1.0.0", "upload-length": str(length), "upload-metadata": metadata, **JSON}
    return web.post(f"/cases/{code}/add/files/", headers=headers)


def patch(web: Client, url: str, data: bytes, at: int, *, says: int | None = None):
    headers = {"tus-resumable": "1.0.0", "upload-offset": str(at), **JSON}
    more = {} if says is None else {"CONTENT_LENGTH": str(says), "wsgi.input": io.BytesIO(data)}
    return web.generic("PATCH", url, data, "application/offset+octet-stream", headers=headers, **more)


def head(web: Client, url: str):
    return web.head(url, headers={"tus-resumable": "1.0.0"})


def content(item: Item) -> bytes:
    with vault.open(item.sha256) as stored:
        return stored.read()


def staged() -> list[Path]:
    from django.conf import settings

    root = Path(settings.STAGING_DIR)
    return list(root.iterdir()) if root.exists() else []


def test_small_file_in_one_request_becomes_an_item_without_staging(web, case, rania):
    data = cast.jpeg(seed=501)[:900]
    url = announce(web, len(data), name="a.jpg", path="card/a.jpg", url="https://example.org/a")["Location"]
    done = patch(web, url, data, 0)
    assert done.status_code == 204, done.content
    assert done["Upload-Offset"] == str(len(data))
    assert done["Amparo-Item"] == "RIVER-1/0001"
    acquisition = Acquisition.objects.get()
    assert (acquisition.method, acquisition.by) == ("upload", rania.name)
    assert (acquisition.file_name, acquisition.path) == ("a.jpg", "card/a.jpg")
    assert content(acquisition.item) == data
    assert staged() == []


def test_pieces_are_joined_and_cleared_away(web, case):
    data = bytes(range(256)) * 20
    url = announce(web, len(data), sha256=hashlib.sha256(data).hexdigest())["Location"]
    for at in range(0, len(data), 2000):
        assert patch(web, url, data[at : at + 2000], at)["Upload-Offset"] == str(min(at + 2000, len(data)))
    item = Item.objects.get()
    assert content(item) == data
    assert staged() == []
    assert not UploadPart.objects.exists()
    assert head(web, url)["Amparo-Item"] == item.code


def test_empty_file_is_an_item_as_soon_as_it_is_announced(web, case):
    assert announce(web, 0, name="empty.jpg")["Amparo-Item"] == "RIVER-1/0001"


def test_broken_connection_keeps_what_arrived(web, case):
    """Guards promise: nothing confirmed is lost; what came before the break need not be sent again."""
    data = b"z" * 5000
    url = announce(web, len(data))["Location"]
    assert patch(web, url, data[:1500], 0, says=5000)["Upload-Offset"] == "1500"
    assert head(web, url)["Upload-Offset"] == "1500"
    patch(web, url, data[1500:], 1500)
    assert content(Item.objects.get()) == data


def test_small_file_that_breaks_off_keeps_what_arrived(web, case):
    data = b"q" * 800
    url = announce(web, len(data))["Location"]
    assert patch(web, url, data[:300], 0, says=800)["Upload-Offset"] == "300"
    patch(web, url, data[300:], 300)
    assert content(Item.objects.get()) == data


@pytest.mark.parametrize("where", ["ingest.acquire", "_remove", "ingest.register"])
def test_web_killed_while_finishing_ends_in_one_acquisition(web, case, monkeypatch, where):
    """Guards promise: killing web at any moment loses no confirmed byte and doubles nothing."""
    data = b"k" * 5000
    url = announce(web, len(data))["Location"]
    patch(web, url, data[:3000], 0)

    def die(*_given, **_more):
        raise SystemExit("killed")

    with monkeypatch.context() as broken:
        broken.setattr(f"archive.{'tus.' if where == '_remove' else ''}{where}", die)
        with pytest.raises(SystemExit):
            patch(web, url, data[3000:], 3000)
    at = int(head(web, url)["Upload-Offset"])
    done = patch(web, url, data[at:], at) if at < 5000 else head(web, url)
    assert done["Upload-Offset"] == "5000"
    assert done["Amparo-Item"] == "RIVER-1/0001"
    assert Acquisition.objects.count() == Item.objects.count() == 1
    assert content(Item.objects.get()) == data
    announce(web, 10)
    assert staged() == []


def test_last_piece_sent_again_answers_with_the_same_item(web, case):
    data = b"l" * 2000
    url = announce(web, len(data))["Location"]
    first = patch(web, url, data, 0)
    again = patch(web, url, data, 0)
    assert again.status_code == 204
    assert (first["Amparo-Item"], first["Upload-Offset"]) == (again["Amparo-Item"], again["Upload-Offset"])
    assert Acquisition.objects.count() == 1


def test_two_that_finish_at_once_make_one_acquisition(web, case, rania):
    upload = tus.begin(case=case, actor=cast.signed_in(rania), announced=tus.Announced(4, "a.txt"))
    other = Upload.objects.get()
    tus.append(upload=upload, actor=cast.signed_in(rania), start=0, size=4, stream=io.BytesIO(b"abcd"))
    with pytest.raises(Conflict):
        tus._acquire(other, cast.signed_in(rania), io.BytesIO(b"abcd"))
    assert Acquisition.objects.count() == 1


def test_same_bytes_again_are_one_item_and_a_further_acquisition(web, case):
    data = b"s" * 700
    for name in ("one.jpg", "two.jpg"):
        done = patch(web, announce(web, len(data), name=name)["Location"], data, 0)
    assert done["Amparo-Already-Held"] == "1"
    assert Item.objects.count() == 1
    assert list(Acquisition.objects.values_list("file_name", flat=True)) == ["one.jpg", "two.jpg"]


def test_held_files_are_told_for_this_case_only(web, case, rania):
    item, elsewhere = cast.item(case), cast.item(cast.case(owner=rania))
    asked = {"files": [{"sha256": item.sha256}, {"sha256": elsewhere.sha256}, {"sha256": "0" * 64}]}
    answer = web.post("/cases/RIVER-1/add/held", json.dumps(asked), "application/json").json()["files"]
    assert [f["item"] and f["item"]["code"] for f in answer] == [item.code, None, None]


def test_unfinished_upload_is_found_again_by_its_own_person(web, case):
    print_ = "ab" * 32
    url = announce(web, 5000, fingerprint=print_)["Location"]
    asked = json.dumps({"files": [{"fingerprint": print_}]})
    assert web.post("/cases/RIVER-1/add/held", asked, "application/json").json()["files"][0]["upload"] == url
    other = cast.person("researcher")
    cast.share(case, other)
    told = cast.browser(other).post("/cases/RIVER-1/add/held", asked, "application/json").json()
    assert told["files"][0]["upload"] is None
    assert head(cast.browser(other), url).status_code == 404


def test_changed_bytes_are_refused_and_given_up(web, case):
    url = announce(web, 3000, sha256="1" * 64)["Location"]
    refused = patch(web, url, b"x" * 3000, 0)
    assert refused.status_code == 422
    assert "SHA-256 differs" in refused.json()["detail"]
    assert head(web, url).status_code == 404
    assert not Item.objects.exists()
    assert staged() == []


def test_giving_up_removes_the_pieces(web, case):
    url = announce(web, 5000)["Location"]
    patch(web, url, b"x" * 2000, 0)
    assert len(staged()) == 1
    assert web.delete(url, headers={"tus-resumable": "1.0.0"}).status_code == 204
    assert staged() == []
    assert head(web, url).status_code == 404


def test_stale_offset_is_a_conflict_and_loses_nothing(web, case):
    url = announce(web, 5000)["Location"]
    patch(web, url, b"x" * 2000, 0)
    assert patch(web, url, b"y" * 2000, 0).status_code == 409
    assert head(web, url)["Upload-Offset"] == "2000"


@pytest.mark.parametrize(
    ("length", "told", "word"),
    [
        (10, {"name": "n" * 1025}, "characters"),
        (10, {"name": ""}, "name"),
        (10**15, {}, "limit"),
        (10, {"source": "S-404"}, "source"),
        (10, {"sha256": "xyz"}, "SHA-256"),
    ],
)
def test_what_breaks_a_stated_limit_is_refused_with_a_reason(web, case, length, told, word):
    refused = announce(web, length, **told)
    assert refused.status_code in (413, 422)
    assert word in refused.json()["detail"]
    assert not Upload.objects.exists()


def test_closed_case_takes_nothing(web, case, rania):
    from archive import cases

    cases.change_case(case=case, actor=cast.signed_in(rania), status="closed")
    assert announce(web, 10).status_code == 422


def test_piece_over_64_mib_is_refused(web, case):
    url = announce(web, 200 * 2**20)["Location"]
    assert patch(web, url, b"x", 0, says=tus.MOST_PER_REQUEST + 1).status_code == 413


def test_signed_out_and_other_versions_are_told_so(web, case):
    url = announce(web, 100)["Location"]
    assert Client().head(url, headers={"tus-resumable": "1.0.0"}).status_code == 401
    assert web.head(url, headers={"tus-resumable": "0.2.2"}).status_code == 412
    assert "creation" in web.options("/cases/RIVER-1/add/files/")["Tus-Extension"]


def test_observer_cannot_send(case):
    seer = cast.person("observer")
    cast.share(case, seer)
    assert announce(cast.browser(seer), 10).status_code == 404
    assert cast.browser(seer).get("/cases/RIVER-1/add/").status_code == 404


def test_pieces_lie_encrypted(web, case):
    secret = b"a name that must not lie about" * 100
    url = announce(web, len(secret) + 1000)["Location"]
    patch(web, url, secret, 0)
    for folder in staged():
        for file in folder.rglob("*"):
            assert not file.is_file() or b"must not lie about" not in file.read_bytes()
        shutil.rmtree(folder)
