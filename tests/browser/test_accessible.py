"""Every screen passes axe, in light and dark, in both directions of writing, and fits its window."""

from pathlib import Path

import pytest

from archive import annotate, jobs
from tests import cast
from triage import review

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

AXE = (Path(__file__).parent / "vendor" / "axe.min.js").read_text()
FOUND = """axe.run().then(result => result.violations.map(
    v => `${v.id}: ${v.help} (${v.nodes.map(n => n.target.join(' ')).slice(0, 3).join(', ')})`))"""
SCREENS = (
    "/",
    "/cases/",
    "/cases/{code}/",
    "/cases/{code}/review/",
    "/cases/{code}/library/",
    "/cases/{code}/library/?kind=image&q=a",
    "/cases/{code}/sources/",
    "/cases/{code}/bundles/",
    "/cases/{code}/criteria/",
    "/cases/{code}/custody/",
    "/cases/{code}/people/",
    "/cases/{code}/jobs/",
    "/cases/{code}/add/",
    "/review/{picture}/",
    "/review/{clip}/",
    "/items/{picture}/",
    "/items/{broken}/",
    "/search/?q=nothing-like-it",
    "/nowhere/",
)
WINDOWS = [
    pytest.param("en", "light", 1440, id="english-light-1440"),
    pytest.param("ar", "dark", 1024, id="arabic-dark-1024"),
    pytest.param("ar", "light", 390, id="arabic-light-390"),
]


@pytest.fixture
def lead():
    return cast.person("researcher", "administrator")


@pytest.fixture
def names(lead) -> dict[str, str]:
    case = cast.case(owner=lead, title="A title that is rather long " * 7)
    cast.source(case, pseudonym="the baker")
    picture = cast.item(case, cast.jpeg(320, 240, seed=5), name="صورة " + "long-name-" * 18 + ".jpg")
    clip = cast.item(case, cast.mp4(), name="clip.mp4")
    broken = cast.item(case, cast.jpeg(seed=6)[:200], name="broken.jpg")
    while jobs.run_waiting("archive.examine", most=20):
        continue
    actor = cast.signed_in(lead)
    annotate.tag(item=picture, name="harbour", actor=actor)
    annotate.note(item=clip, text="a door opens", actor=actor, frame_ms=400)
    review.decide(item=picture, actor=actor, value="second_look", reason="the light")
    return {"code": case.code, "picture": picture.pk, "clip": clip.pk, "broken": broken.pk}


@pytest.mark.parametrize(("language", "light", "width"), WINDOWS)
def test_every_screen_is_accessible_and_fits(visit, lead, names, language, light, width):
    window = {"viewport": {"width": width, "height": 900}, "color_scheme": light}
    page = visit(lead, "/", language=language, **window)
    faults = []
    for screen in SCREENS:
        path = screen.format(**names)
        page.goto(path)
        # Through the debugger: the pages' own policy forbids to evaluate text as script.
        page.context.new_cdp_session(page).send("Runtime.evaluate", {"expression": AXE})
        faults += [f"{screen} {fault}" for fault in page.evaluate(FOUND)]
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if wide > 0:
            faults.append(f"{screen} runs {wide} px off the side")
    assert not faults, "\n".join(faults)
