"""Review by keyboard, as an analyst does it for eight hours."""

import pytest
from playwright.sync_api import expect

from archive import annotate, jobs
from archive.models import CustodyEvent, Decision
from tests import cast
from tests.browser.windows import until
from triage import questions
from triage.models import Criteria, Example

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


def test_nothing_runs_off_the_side(visit, reader, items):
    text = "Does it show damage to a medical facility, or " + "people who bring the wounded to one, " * 6
    questions.ask(case=items[0].case, actor=cast.signed_in(reader), text=text)
    places = (
        f"/review/{items[2].pk}/",
        f"/review/{items[2].pk}/?question=1",
        f"/cases/{items[0].case.code}/review/?question=1",
        f"/cases/{items[0].case.code}/questions/",
        f"/cases/{items[0].case.code}/criteria/?question=1",
        f"/cases/{items[0].case.code}/library/",
        f"/items/{items[0].pk}/",
    )
    over = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    found = {}
    for language in ("en", "ar"):
        page = visit(reader, places[0], language=language)
        for path in places:
            page.goto(path)
            for width in (1440, 1024, 390):
                page.set_viewport_size({"width": width, "height": 800})
                found[path, language, width] = page.evaluate(over)
        page.context.close()
    assert {where: px for where, px in found.items() if px > 0} == {}


def test_a_question_is_answered_switched_and_shown_a_box_by_keyboard(visit, reader, items):
    case, first = items[0].case, items[0]
    actor = cast.signed_in(reader)
    asked = questions.ask(case=case, actor=actor, text="Does it show a school or a hospital?")
    page = visit(reader, f"/cases/{case.code}/review/?question=1")
    expect(page.get_by_role("link", name="Does it show a school")).to_have_attribute("aria-current", "true")
    page.keyboard.press("j")
    page.wait_for_url(f"**/review/{first.pk}/?question=1")
    expect(page.locator("#question")).to_have_text("Does it show a school or a hospital?")
    expect(page.locator("[data-do=draw]")).to_be_disabled()

    page.keyboard.press("v")
    expect(page.locator("#stage > .sharp")).to_be_visible()
    page.keyboard.press("d")
    box = page.locator("#stage > .drawn rect").last
    expect(box).to_be_visible()
    for _ in range(10):
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Shift+ArrowDown")
    expect(page.locator("#example [data-words]")).to_have_text("give this box as an example")
    page.keyboard.press("g")
    expect(page.get_by_role("status").filter(has_text="Given as an example")).to_be_visible()
    example = Example.objects.get(question=asked, item=first)
    assert example.box == (0.4, 0.35, 0.3, 0.35)
    expect(page.locator("#stage > .sharp")).to_be_visible()

    page.keyboard.press("q")
    page.wait_for_url(f"**/review/{first.pk}/")
    page.keyboard.press("q")
    page.wait_for_url(f"**/review/{first.pk}/?question=1")
    page.keyboard.press("2")
    page.wait_for_url(f"**/review/{items[1].pk}/?question=1")
    assert questions.in_force(asked) == {first.pk: "no"}
    page.keyboard.press("u")
    page.wait_for_url(f"**/review/{first.pk}/?question=1")
    assert questions.in_force(asked) == {} and not Decision.objects.exists()


def test_a_box_is_drawn_with_the_mouse_and_a_frame_is_given(visit, reader, items):
    page = visit(reader, f"/review/{items[2].pk}/")
    page.keyboard.press("v")
    video = page.locator("video.sharp")
    until(video, "v.readyState >= 2")
    page.locator("#scrub").fill("1000")
    until(video, "Math.abs(v.currentTime - 1) < 0.05")
    expect(page.locator("#example [data-words]")).to_have_text("give this frame as an example")
    page.locator("[data-do=draw]").click()
    place = page.locator("#stage").bounding_box()
    page.mouse.move(place["x"] + place["width"] * 0.45, place["y"] + place["height"] * 0.4)
    page.mouse.down()
    page.mouse.move(place["x"] + place["width"] * 0.55, place["y"] + place["height"] * 0.6, steps=4)
    page.mouse.up()
    expect(page.locator("#example [data-words]")).to_have_text("give this box as an example")
    page.keyboard.press("g")
    expect(page.get_by_role("status").filter(has_text="Given as an example")).to_be_visible()
    example = Example.objects.get(item=items[2])
    assert abs(example.at_ms - 1000) < 60 and example.box[3] > 0.1


def test_what_a_rule_would_move_is_shown_while_it_is_written(visit, reader, items):
    case = items[0].case
    annotate.tag(item=items[2], name="bridge", actor=cast.signed_in(reader))
    page = visit(reader, f"/cases/{case.code}/criteria/")
    page.get_by_text("A further rule").first.click()
    rule = page.locator("details.rule[open]")
    rule.get_by_label("Name", exact=True).fill("At the bridge")
    rule.get_by_label("It counts what").select_option("tagged")
    expect(rule.get_by_label("Tags", exact=True)).to_be_visible()
    expect(rule.get_by_label("Classes", exact=True)).to_be_hidden()
    rule.get_by_label("Tags", exact=True).fill("bridge")
    rule.get_by_label("Points", exact=True).fill("30")
    first = page.locator("#preview .moves li").first
    expect(first).to_contain_text(items[2].code)
    expect(page.locator("#preview")).to_contain_text("Nothing was saved.")
    assert not Criteria.objects.exists()
    page.get_by_label("Name of this version").fill("The bridge first")
    page.get_by_label("Why (kept in the custody log)").first.fill("The bridge is what matters")
    page.get_by_role("button", name="Put a new version in force").click()
    expect(page.get_by_text("Rules in force: The bridge first")).to_be_visible()
    assert Criteria.objects.get(case=case).rules["criteria"][-1]["any_of"] == ["bridge"]
