"""Boxes by keyboard and by mouse, the result beside the original, and a released copy in the end."""

import json

import pytest
from playwright.sync_api import expect

from archive import jobs
from evidence.redaction import approved, verbs
from evidence.redaction.models import Redaction
from tests import cast
from tests.browser.test_every_screen import axe_faults

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def reader():
    return cast.person("researcher")


def examined(item):
    while jobs.run_waiting("archive.examine", most=20):
        continue
    item.refresh_from_db()
    return item


def box(page, n: int) -> list[float]:
    """The share of the picture that a drawn box has, as the page would send it."""
    page.evaluate(
        "document.getElementById('redaction').addEventListener('submit', e => e.preventDefault(), {once: true})"
    )
    page.locator("button[value=save]").click()
    document = json.loads(page.locator("#document").input_value())
    return [float(v) for v in document["regions"][n]["keys"][0]["box"]]


def test_a_picture_from_drawing_to_release(visit, reader):
    item = examined(cast.item(cast.case(owner=reader), cast.jpeg(640, 480, seed=93)))
    verbs.begin(item=item, actor=cast.signed_in(reader))
    page = visit(reader, f"/items/{item.pk}/redact/", viewport={"width": 1200, "height": 800})
    expect(page.locator("[data-act=draw]")).to_be_disabled()
    page.keyboard.press("v")
    expect(page.locator("#stage > .sharp")).to_be_visible()

    page.keyboard.press("d")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Shift+ArrowDown")
    page.keyboard.press("+")
    assert box(page, 0) == pytest.approx([0.39, 0.395, 0.21, 0.215], abs=1e-4)

    picture = page.locator("svg.regions").bounding_box()
    middle = picture["x"] + picture["width"] / 2
    page.mouse.move(middle - 200, picture["y"] + 100)
    page.mouse.down()
    page.mouse.move(middle - 120, picture["y"] + 160, steps=3)
    page.mouse.up()
    drawn = box(page, 1)
    corner = page.locator("svg.regions .selected .handle[data-corner=se]").bounding_box()
    page.mouse.move(corner["x"] + corner["width"] / 2, corner["y"] + corner["height"] / 2)
    page.mouse.down()
    page.mouse.move(corner["x"] + 60, corner["y"] + 60, steps=3)
    page.mouse.up()
    larger = box(page, 1)
    assert larger[:2] == pytest.approx(drawn[:2], abs=1e-4) and larger[2] > drawn[2] and larger[3] > drawn[3]
    assert not axe_faults(page)
    page.keyboard.press("x")
    expect(page.locator(".region")).to_have_count(1)

    page.locator("#confirm").click()
    expect(page.locator("#waiting")).to_be_visible()
    jobs.run_waiting("evidence.redact")
    page.get_by_role("button", name="Look at both").click()
    result = page.locator("#compare img").nth(1)
    assert result.evaluate("e => e.decode().then(() => e.naturalWidth)") == 640
    page.locator("#statement").fill("What matters is covered")
    page.get_by_role("button", name="approve").click()
    expect(page.get_by_text("What matters is covered")).to_be_visible()
    assert len(approved(item)) == 1


def test_a_box_in_a_video_moves_between_the_moments_at_which_it_was_set(visit, reader):
    item = examined(cast.item(cast.case(owner=reader), cast.mp4(2), name="clip.mp4"))
    verbs.begin(item=item, actor=cast.signed_in(reader))
    page = visit(reader, f"/items/{item.pk}/redact/", viewport={"width": 1200, "height": 800})
    page.keyboard.press("v")
    video = page.locator("#stage > video.sharp")
    expect(video).to_be_visible()

    def seek(seconds: float) -> None:
        video.evaluate(
            "(v, t) => new Promise(done => { v.addEventListener('seeked', done, {once: true}); v.currentTime = t; })",
            seconds,
        )

    seek(0.5)
    page.keyboard.press("d")
    seek(1.5)
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("e")
    page.locator("button[value=save]").click()
    expect(page.get_by_text("Saved.")).to_be_visible()
    (region,) = Redaction.objects.get().draft["regions"]
    assert (region["from_ms"], region["to_ms"]) == (500, 1500)
    assert [(key["at_ms"], key["box"][0]) for key in region["keys"]] == [(500, "0.40000"), (1500, "0.41500")]
    page.keyboard.press("v")
    seek(1.0)
    face = page.locator("svg.regions .face")
    assert float(face.get_attribute("x")) == pytest.approx(407.5, abs=1)
    seek(1.8)
    expect(face).to_be_hidden()
