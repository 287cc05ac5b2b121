"""Review by keyboard, as an analyst does it for eight hours."""

import pytest
from playwright.sync_api import expect

from archive import jobs
from archive.models import CustodyEvent, Decision
from tests import cast
from tests.browser.windows import until

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def reader():
    return cast.person("researcher")


@pytest.fixture
def items(reader):
    case = cast.case(owner=reader)
    made = [cast.item(case, cast.jpeg(320, 240, seed=n)) for n in (91, 92)]
    made.append(cast.item(case, cast.mp4(2), name="clip.mp4"))
    while jobs.run_waiting("archive.examine", most=20):
        continue
    return made


def views(item) -> int:
    return CustodyEvent.objects.filter(subject=item.custody_subject(), type="item.viewed").count()


def test_the_whole_round_by_keyboard(visit, reader, items):
    page = visit(reader, f"/cases/{items[0].case.code}/review/")
    page.keyboard.press("j")
    page.wait_for_url(f"**/review/{items[0].pk}/")
    sharp = page.locator("#stage > .sharp")
    expect(page.locator("#stage > .veil")).to_be_visible()
    assert sharp.count() == 0 and views(items[0]) == 0

    page.keyboard.press("v")
    expect(sharp).to_be_visible()
    assert sharp.evaluate("e => e.complete && e.naturalWidth") == 320
    assert views(items[0]) == 1
    page.keyboard.press("v")
    expect(sharp).to_be_hidden()
    page.keyboard.press("v")
    expect(sharp).to_be_visible()
    assert views(items[0]) == 1, "lifting the veil again over bytes that are here is no further look"

    page.keyboard.press("1")
    page.wait_for_url(f"**/review/{items[1].pk}/")
    expect(page.locator("#stage > .veil")).to_be_visible()
    page.keyboard.press("4")
    expect(page.locator(".decide .error")).to_contain_text("Say why you escalate")
    expect(page.locator("[name=reason]")).to_be_focused()
    page.keyboard.type("shows a licence plate; 1 of 2")
    page.keyboard.press("Enter")
    assert Decision.objects.filter(item=items[1]).count() == 0, "Enter in the reason must not decide"
    page.keyboard.press("Escape")
    page.keyboard.press("4")
    page.wait_for_url(f"**/review/{items[2].pk}/")
    page.keyboard.press("u")
    page.wait_for_url(f"**/review/{items[1].pk}/")
    values = list(Decision.objects.order_by("at").values_list("value", flat=True))
    assert values == ["relevant", "escalate", "withdrawn"]


def test_keys_work_on_a_keyboard_set_to_arabic_and_can_be_switched_off(visit, reader, items):
    page = visit(reader, f"/review/{items[0].pk}/")
    arabic = (
        "document.body.dispatchEvent(new KeyboardEvent('keydown', {key: 'ر', code: 'KeyV', bubbles: true}))"
    )
    page.evaluate(arabic)
    expect(page.locator("#stage > .sharp")).to_be_visible()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.get_by_label("Switch single keys off on this device").check()
    page.keyboard.press("Escape")
    page.keyboard.press("1")
    page.wait_for_timeout(300)
    assert not Decision.objects.exists()


def test_a_video_plays_muted_steps_and_seeks(visit, reader, items):
    page = visit(reader, f"/review/{items[2].pk}/")
    page.keyboard.press("v")
    video = page.locator("video.sharp")
    expect(video).to_be_visible()
    until(video, "v.readyState >= 2")
    assert video.evaluate("v => v.muted && !v.controls")
    before = video.evaluate("v => v.currentTime")
    page.keyboard.press(".")
    until(video, f"Math.abs(v.currentTime - {before} - 0.1) < 0.02")
    page.locator("#scrub").fill("1500")
    until(video, "Math.abs(v.currentTime - 1.5) < 0.05")
    expect(page.locator("#now")).to_have_text("0:01")
    page.keyboard.press("m")
    assert not video.evaluate("v => v.muted")
    assert views(items[2]) == 1


def test_without_script_looking_and_deciding_work_as_plain_forms(visit, reader, items):
    page = visit(reader, f"/review/{items[0].pk}/", java_script_enabled=False)
    page.get_by_role("button", name="Look", exact=True).click()
    expect(page.locator("#stage > .sharp")).to_be_visible()
    assert views(items[0]) == 1
    page.get_by_role("button", name="Not relevant").click()
    assert page.url.endswith(f"/review/{items[1].pk}/")
    assert page.locator("#stage > .sharp").count() == 0
    assert Decision.objects.get(item=items[0]).value == "not_relevant"


@pytest.mark.parametrize("language", ["en", "ar"])
@pytest.mark.parametrize("width", [1440, 1024, 390])
def test_nothing_runs_off_the_side(visit, reader, items, width, language):
    for path in (
        f"/review/{items[2].pk}/",
        f"/cases/{items[0].case.code}/library/",
        f"/items/{items[0].pk}/",
    ):
        page = visit(reader, path, language=language, viewport={"width": width, "height": 800})
        assert page.evaluate(
            "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        ), path
        page.context.close()
