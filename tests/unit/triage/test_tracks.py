"""A video's shots and objects as they are kept, said on screen, and made again."""

from decimal import Decimal

import pytest
from django.utils import timezone

from archive import custody
from archive.custody import Actor
from archive.models import Item
from tests import cast
from triage import stored, timeline, tracks, wording
from triage.models import Analysis, Seen, Shot, Track
from triage.results import Found, Looked, Tag
from triage.suggesting import Offer

pytestmark = pytest.mark.django_db


def found(at_ms: int, x: float, label: str = "car", score: str = "0.9000") -> Found:
    return Found(at_ms, label, Decimal(score), tuple(Decimal(v) for v in (f"{x:.5f}", "0.4", "0.1", "0.1")))


def analysis(item: Item, looked: Looked, task: str = "detect") -> Analysis:
    row = custody.write(
        Analysis(
            item=item,
            task=task,
            analyser=looked.analyser,
            version=1,
            model="test",
            recipe=looked.sha256,
            started_at=timezone.now(),
            finished_at=timezone.now(),
            frames=len(looked.at_ms),
            looked_at_ms=list(looked.at_ms),
            found=looked.count,
            result_sha256=looked.sha256,
        ),
        event="item.analysed",
        actor=Actor.system("worker"),
        also={"original": item.sha256},
    )
    stored.put(row, looked)
    return row


@pytest.fixture
def video():
    """Two shots of 30 s: three cars after each other in the first, one that goes on through both; a fall; a stray cat."""
    item = cast.item(cast.case())
    custody.change(
        item, event="item.examined", actor=Actor.system("worker"), kind="video", duration_ms=60_000
    )
    times = tuple(range(0, 60_000, 500))
    cars = [
        found(at, 0.1 + 0.3 * n) for n in range(3) for at in range(12_000 + 9000 * n, 18_000 + 9000 * n, 500)
    ]
    through = [found(at, 0.8, "bus") for at in range(20_000, 48_000, 500)]
    looked = Looked("yolo", times, (*cars, *through, found(3000, 0.5, "cat")))
    row = analysis(item, looked)
    fall = Looked("clip-activity", times, tags=(Tag(52_000, "fall", Decimal("0.8100"), 55_000),))
    clip = analysis(item, fall, "clip")
    shots = [(0, 29_500), (30_000, 59_500)]
    tracks.keep(item, [row, clip], tracks.followed([looked, fall], shots), shots)
    for label, most, sure in (("car", 1, "0.9"), ("bus", 1, "0.9"), ("cat", 1, "0.9"), ("fall", 0, "0.81")):
        Seen.objects.create(
            item=item, case=item.case, label=label, most_at_once=most, confidence=Decimal(sure)
        )
    return item


def test_objects_are_kept_and_no_object_goes_on_past_a_cut(video):
    kept = Track.objects.values_list("number", "label", "first_ms", "last_ms", "boxes")
    assert list(kept) == [
        (1, "car", 12_000, 17_500, 12),
        (2, "bus", 20_000, 29_500, 20),
        (3, "car", 21_000, 26_500, 12),
        (4, "bus", 30_000, 47_500, 36),
        (5, "car", 30_000, 35_500, 12),
    ]


def test_lists_and_panels_say_how_many_were_followed_and_when(video):
    brief = Offer().brief([video])[video.pk]
    assert set(brief.labels) == {
        "car\u00a0×\u00a03, 12 s to 36 s",
        "bus\u00a0×\u00a02, 20 s to 48 s",
        "cat",
        "fall",
    }
    full = Offer().full(video)
    assert "car\u00a0×\u00a03, 12 s to 36 s · 0.90" in full.chips
    assert "cat, 3 s to 4 s · 0.90" in full.chips
    assert "fall, 52 s to 55 s · 0.81" in full.chips
    lanes = {lane.label: (lane.most, lane.spans) for lane in full.lanes}
    assert lanes["car"] == (3, [(12_000, 18_000), (21_000, 27_000), (30_000, 36_000)])
    assert lanes["fall"] == (0, [(52_000, 55_000)])
    assert {0, 30_000} <= set(full.shots_ms), "a person jumps from cut to cut"


def test_a_newer_look_counts_in_place_of_the_older(video):
    analysis(video, Looked("yolo-newer", (0, 1000), (found(0, 0.1),)))
    assert timeline.objects(timeline.counting([video.pk])) == {}


def test_objects_are_made_again_from_what_is_stored(video):
    before = list(Track.objects.values_list("number", "label", "first_ms", "last_ms", "at_ms", "x", "boxes"))
    Track.objects.all().delete()
    assert tracks.rebuild(video.case) == 5
    after = list(Track.objects.values_list("number", "label", "first_ms", "last_ms", "at_ms", "x", "boxes"))
    assert after == before
    assert Shot.objects.count() == 2


@pytest.mark.parametrize(
    ("first", "last", "words"),
    [
        (12_300, 47_100, "12 s to 48 s"),
        (59_000, 61_000, "0:59 to 1:01"),
        (0, 3_700_000, "0:00 to 1:01:40"),
    ],
)
def test_times_are_said_in_seconds_or_as_a_clock(first, last, words):
    assert wording.from_to(first, last) == words
