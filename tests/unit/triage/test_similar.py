"""Similar items: whose they may be, what comes in and goes out, and a part that a person drew."""

import contextlib
import hashlib
from decimal import Decimal

import numpy as np
import pytest
from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from archive import custody, jobs, search
from archive.custody import Actor
from archive.errors import BadInput
from archive.models import Item, Job
from tests import cast
from triage import parts, similar
from triage.models import Analysis, Part, ReadText, Vector
from triage.results import Looked
from triage.results import Vector as Found
from triage.runtimes.process import Outcome

pytestmark = pytest.mark.django_db

MODEL, WEIGHTS = "mobilenet-v1-embedding", "5" * 64


@pytest.fixture(autouse=True)
def own_index(settings, tmp_path):
    settings.INDEX_DIR = tmp_path / "index"


def direction(*numbers: float) -> bytes:
    """A vector of length 1."""
    vector = np.array(numbers, np.float64)
    return (vector / np.linalg.norm(vector)).astype("<f2").tobytes()


def pictured(item: Item, frames: dict[int, bytes], *, model: str = MODEL, task: str = "embed") -> Analysis:
    """As if a model had looked at an item."""
    kind = Item.Kind.IMAGE if len(frames) == 1 else Item.Kind.VIDEO
    now = timezone.now()
    with transaction.atomic():
        if item.examined_at is None:
            custody.change(
                item,
                event="item.examined",
                actor=Actor.system(),
                kind=kind,
                duration_ms=90_000,
                examined_at=now,
            )
        analysis = custody.write(
            Analysis(
                item=item,
                task=task,
                analyser=model.removesuffix("-embedding"),
                version=1,
                model=model,
                weights_sha256=WEIGHTS,
                recipe=hashlib.sha256(model.encode()).hexdigest(),
                started_at=now,
                finished_at=now,
                frames=len(frames),
                looked_at_ms=list(frames),
                found=len(frames),
                result_sha256="0" * 64,
            ),
            event="item.analysed",
            actor=Actor.system(),
        )
        for at_ms, values in frames.items():
            Vector.objects.create(analysis=analysis, at_ms=at_ms, values=values, whole=len(frames) == 1)
        if len(frames) > 1:
            Vector.objects.create(
                analysis=analysis, at_ms=0, whole=True, values=direction(*sum(map(numbers, frames.values())))
            )
    return analysis


def numbers(values: bytes) -> np.ndarray:
    return np.frombuffer(values, "<f2").astype(float)


@pytest.fixture
def scene():
    """Two cases; a picture, one like it, one unlike it and a video with one frame like it in the first, its twin in the second."""
    person, stranger = cast.person(), cast.person()
    case, other = cast.case(owner=person), cast.case(owner=stranger)
    items = {name: cast.item(case) for name in ("asked", "like", "unlike", "video")}
    items["twin"] = cast.item(other)
    pictured(items["asked"], {0: direction(1, 0, 0, 0.1)})
    pictured(items["like"], {0: direction(1, 0.2, 0, 0.1)})
    pictured(items["unlike"], {0: direction(0, 0, 1, 0)})
    pictured(
        items["video"],
        {0: direction(0, 1, 0, 0), 4000: direction(1, 0.3, 0, 0), 5000: direction(1, 0.31, 0, 0)},
    )
    pictured(items["twin"], {0: direction(1, 0, 0, 0.1)})
    jobs.run_waiting("triage.index")
    return person, stranger, items


def like(person, items, **how) -> list[str]:
    names = {item.pk: name for name, item in items.items()}
    vector = similar.vector_of(items["asked"])
    found = similar.search_like(vector, user=person, but=items["asked"], **how)
    return [names[match.item] for match in found]


def test_the_likest_come_first_each_item_once_by_its_likest_moment(scene):
    person, _, items = scene
    assert like(person, items) == ["like", "video", "unlike"]
    match = similar.search_like(similar.vector_of(items["asked"]), user=person, but=items["asked"])[1]
    assert match.at_ms == 4000 and 0.9 < match.likeness < 1


def test_only_cases_that_were_shared_take_part(scene):
    person, stranger, items = scene
    assert "twin" not in like(person, items)
    assert like(stranger, items) == ["twin"], "the query's own case matters to nobody"
    cast.share(items["twin"].case, person)
    assert like(person, items, count=1) == ["twin"]
    assert "twin" not in like(person, items, case=items["asked"].case)
    assert like(cast.person(), items) == []


def test_a_frame_is_compared_by_the_nearest_that_was_looked_at(scene):
    _, _, items = scene
    assert numbers(similar.vector_of(items["video"], 300).tobytes())[1] == 1
    assert numbers(similar.vector_of(items["video"], 4300).tobytes())[0] > 0.9


def test_an_index_changed_behind_our_back_shows_nobody_what_they_may_not_see(scene, monkeypatch):
    """Guards promise: the index is never trusted for access."""
    person, _, items = scene
    held = similar.index()
    monkeypatch.setattr(held, "cases", [str(items["asked"].case_id)] * len(held.cases))
    assert "twin" not in like(person, items)


def test_what_is_disposed_of_goes_out(scene):
    person, _, items = scene
    part = parts.look_for(item=items["like"], box=(0, 0, "0.5", "0.5"))
    with transaction.atomic():
        custody.change(items["like"], event="item.disposed", actor=Actor.system(), disposed_at=timezone.now())
    assert like(person, items) == ["video", "unlike"], "at once, whatever the index still holds"
    assert not similar.check().sound
    jobs.run_waiting("triage.unindex")
    assert similar.check().sound and not Part.objects.filter(pk=part.pk).exists()


def test_vectors_of_another_model_are_never_compared(scene):
    person, _, items = scene
    late = cast.item(items["asked"].case)
    pictured(late, {0: direction(1, 0, 0, 0.1)}, model="mobilenet-v2-imagenet")
    jobs.run_waiting("triage.index")
    assert similar.embedder().model == MODEL and similar.check().held == 7
    with pytest.raises(similar.NothingToCompare):
        similar.vector_of(late)
    assert len(like(person, items)) == 3


def test_the_index_is_checked_and_rebuilt(scene):
    Vector.objects.filter(at_ms=5000).delete()
    told = similar.check()
    assert (told.surplus, told.missing, told.misplaced, told.sound) == (1, 0, 0, False)
    assert similar.rebuild() == (told.of, 6)
    told = similar.check()
    assert told.sound and told.recall == 1.0 and told.asked == 6


def test_before_any_model_has_looked_there_is_nothing_to_compare():
    person = cast.person()
    item = cast.item(cast.case(owner=person))
    assert similar.check() is None and similar.rebuild() == (None, 0)
    page = cast.browser(person).get(reverse("similar", args=[item.pk]))
    assert page.status_code == 200 and "No index of pictures" in page.content.decode()
    answer = cast.browser(person).get(reverse("api-similar", args=[item.pk]))
    assert answer.status_code == 409 and answer.json()["code"] == "nothing-to-compare"


def test_the_page_says_what_compared_and_shows_veiled_cards(scene):
    person, _, items = scene
    text = cast.browser(person).get(reverse("similar", args=[items["asked"].pk])).content.decode()
    assert (
        MODEL in text
        and "Machine suggestions, not findings" in text
        and 'likeness <bdi dir="ltr">0.98</bdi>' in text
    )
    assert items["twin"].code not in text
    narrowed = cast.browser(person).get(reverse("similar", args=[items["asked"].pk]), {"in": "case"})
    assert len(narrowed.context["alike"]) == 3


def test_the_api_tells_items_moments_and_model(scene):
    person, _, items = scene
    browser = cast.browser(person)
    told = browser.get(reverse("api-similar", args=[items["asked"].pk]), {"limit": 2}).json()
    assert told["model"]["model"] == MODEL
    assert [m["item"]["code"] for m in told["matches"]] == [items["like"].code, items["video"].code]
    assert told["matches"][1]["at_ms"] == 4000
    of_frame = browser.get(reverse("api-similar", args=[items["video"].pk]), {"at_ms": 4000}).json()
    assert {m["item"]["code"] for m in of_frame["matches"][:2]} == {items["asked"].code, items["like"].code}
    elsewhere = {"case": items["twin"].case.code}
    assert browser.get(reverse("api-similar", args=[items["asked"].pk]), elsewhere).status_code == 404


class Process:
    """A model process that sees the same in every part."""

    def __init__(self, values: bytes, code: str = "") -> None:
        self.values, self.code = values, code
        self.works: list = []
        entry = type("Entry", (), {"sha256": WEIGHTS})
        self.analysers = [
            type("A", (), {"name": "mobilenet-v1", "version": 1, "task": "embed", "entry": entry})
        ]

    def look(self, works):
        for work in works:
            self.works.append(work)
            looked = (Looked("mobilenet-v1", (0,), vectors=(Found(0, self.values, whole=True),)),)
            yield Outcome(work, code=self.code) if self.code else Outcome(work, looked=looked)


@pytest.fixture
def process(monkeypatch):
    made = Process(direction(0, 0, 1, 0))
    monkeypatch.setattr(parts, "station", contextlib.nullcontext(made))
    return made


def test_a_drawn_box_is_looked_at_by_a_job_and_then_compared(scene, process):
    person, _, items = scene
    browser, asked = cast.browser(person), items["asked"]
    answer = browser.post(
        reverse("similar-ask", args=[asked.pk]), {"box": "0.10000,0.2,0.30000,0.4", "at_ms": ""}
    )
    page = browser.get(answer["Location"])
    part = Part.objects.get()
    state = reverse("similar-part-state", args=[asked.pk, part.pk])
    assert state in page.content.decode() and browser.get(state).json() == {"waiting": True}
    assert parts.look_for(item=asked, box=(0.1, 0.2, 0.3, 0.4)) == part
    assert Job.objects.filter(name="triage.look_at_part").count() == 1, "asked for once"
    jobs.run_waiting("triage.look_at_part")
    assert process.works[0].cut.box == (10_000, 20_000, 30_000, 40_000)
    assert browser.get(state).json() == {"waiting": False}
    assert browser.get(answer["Location"]).context["alike"][0].card.code == items["unlike"].code
    told = browser.get(reverse("api-similar", args=[asked.pk]), {"part": str(part.pk)}).json()
    assert told["matches"][0]["item"]["code"] == items["unlike"].code


def test_a_part_that_no_model_can_look_at_says_why(scene, process):
    person, _, items = scene
    part = parts.look_for(item=items["video"], box=(0, 0, 1, 1), at_ms=700)
    process.code = "cannot-decode"
    jobs.run_waiting("triage.look_at_part")
    part.refresh_from_db()
    assert "could be decoded" in part.trouble and not parts.is_awaited(part)
    address = reverse("similar", args=[items["video"].pk])
    assert "could be decoded" in cast.browser(person).get(address, {"part": str(part.pk)}).content.decode()
    process.analysers[0].version = 2
    part = parts.look_for(item=items["video"], box=(0, 0, 1, 1), at_ms=700)
    jobs.run_waiting("triage.look_at_part")
    part.refresh_from_db()
    assert part.trouble == parts.OTHER_MODEL


@pytest.mark.parametrize(
    "box", ["", "1,2", "a,b,c,d", "0,0,nan,1", "0.9,0,0.2,0.2", "0,0,0.001,1", "-0.1,0,0.5,0.5"]
)
def test_a_box_that_is_none_is_refused(scene, box):
    with pytest.raises(BadInput):
        parts.look_for(item=scene[2]["asked"], box=box.split(","))
    assert not Part.objects.exists()


def test_a_part_belongs_to_its_item(scene, process):
    person, _, items = scene
    part = parts.look_for(item=items["like"], box=(0, 0, Decimal("0.5"), 1))
    browser = cast.browser(person)
    for route in ("similar-part-state", "api-part"):
        assert browser.get(reverse(route, args=[items["asked"].pk, part.pk])).status_code == 404
    assert (
        browser.get(reverse("similar", args=[items["asked"].pk]), {"part": str(part.pk)}).status_code == 404
    )


def test_text_that_a_machine_read_is_found_as_such_until_the_item_is_disposed_of(scene):
    person, _, items = scene
    analysis = pictured(items["like"], {}, model="reader", task="text")
    ReadText.objects.create(
        analysis=analysis, at_ms=0, text="مستشفى ١٢", confidence="0.9", x=0, y=0, width=1, height="0.1"
    )
    jobs.run_waiting("triage.index")
    assert list(search.found(Item.objects.all(), "مستشفي 12", search.BY_MACHINE)) == [items["like"]]
    assert not search.found(Item.objects.all(), "مستشفي", search.BY_PEOPLE).exists()
    with transaction.atomic():
        custody.change(items["like"], event="item.disposed", actor=Actor.system(), disposed_at=timezone.now())
    jobs.run_waiting("triage.unindex")
    assert not search.found(Item.objects.all(), "مستشفي").exists()
