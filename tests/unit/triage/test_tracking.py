"""Boxes joined into objects: followed through gaps and doubts, ended by cuts, the same for the same boxes."""

import itertools
import json
import random
import time
from decimal import Decimal
from pathlib import Path

import numpy
import pytest

from triage.results import Found
from triage.tracking import assign, follow, overlaps


def box(at_ms, x, *, y=0.4, label="car", score="0.9000", size=0.1) -> Found:
    place = tuple(Decimal(round(v * 100_000)).scaleb(-5) for v in (x, y, size, size))
    return Found(at_ms, label, Decimal(score), place)


def moving(**more) -> list[Found]:
    """Something that crosses the picture in 5 s, looked at five times a second."""
    return [box(at, at / 6000, **more) for at in range(0, 5000, 200)]


LOOKS = range(0, 5000, 200)


def test_what_moves_is_one_object_from_first_to_last_sight():
    (one,) = follow(moving(), LOOKS)
    assert (one.number, one.label, one.first_ms, one.last_ms, one.boxes) == (1, "car", 0, 4800, 25)
    assert (one.at_ms, one.most) == (0, Decimal("0.9000"))


def test_two_that_cross_stay_two():
    there = moving()
    back = [box(f.at_ms, 0.8 - f.at_ms / 6000, y=0.43) for f in there]
    assert [(t.first_ms, t.last_ms) for t in follow(there + back, LOOKS)] == [(0, 4800), (0, 4800)]


def test_a_moment_out_of_sight_is_bridged_and_a_long_one_is_not():
    still = [box(at, 0.3) for at in LOOKS]
    gone = [f for f in still if not 1000 <= f.at_ms <= 2400]
    assert len(follow(gone, LOOKS)) == 1
    gone = [f for f in still if not 1000 <= f.at_ms <= 3400]
    assert [(t.first_ms, t.last_ms) for t in follow(gone, LOOKS)] == [(0, 800), (3600, 4800)]


def test_a_doubtful_box_keeps_an_object_but_opens_none():
    sure = {0, 200}
    doubtful = [f if f.at_ms in sure else box(f.at_ms, float(f.box[0]), score="0.3000") for f in moving()]
    assert [t.boxes for t in follow(doubtful, LOOKS)] == [25]
    assert follow(moving(score="0.4900"), LOOKS) == []


def test_what_is_seen_in_one_frame_only_is_no_object():
    assert follow([box(1000, 0.3)], LOOKS) == []


def test_no_object_goes_on_past_a_cut():
    assert [(t.first_ms, t.last_ms) for t in follow(moving(), LOOKS, [2000])] == [(0, 1800), (2000, 4800)]


def test_an_object_is_called_what_it_was_called_most_surely():
    changing = [
        box(f.at_ms, float(f.box[0]), label="truck" if f.at_ms % 1000 == 0 else "car") for f in moving()
    ]
    (one,) = follow(changing, LOOKS)
    assert one.label == "car" and one.boxes == 25


def test_of_boxes_on_each_other_one_object_is_made():
    (one,) = follow(moving() + moving(label="truck", score="0.6000"), LOOKS)
    assert one.label == "car"


def test_the_order_of_boxes_does_not_matter():
    boxes = moving() + moving(y=0.7, label="bus")
    shuffled = boxes[:]
    random.Random(4).shuffle(shuffled)
    assert follow(shuffled, LOOKS) == follow(boxes, LOOKS)


@pytest.mark.parametrize("seed", range(40))
def test_pairs_have_the_greatest_sum(seed):
    generator = random.Random(seed)
    rows, columns, least = generator.randint(1, 4), generator.randint(1, 4), 0.3
    gain = [[generator.random() for _ in range(columns)] for _ in range(rows)]
    got = assign(numpy.array(gain), least)
    assert len({r for r, _ in got}) == len(got) == len({c for _, c in got})
    ways = itertools.permutations([*range(columns), *[None] * rows], rows)
    sums = (
        sum(gain[r][c] for r, c in enumerate(way) if c is not None and gain[r][c] >= least) for way in ways
    )
    assert sum(gain[r][c] for r, c in got) == pytest.approx(max(sums))


def test_boxes_that_touch_do_not_overlap():
    assert overlaps([(0, 0, 1, 1)], [(1, 0, 1, 1), (0.5, 0, 1, 1), (0, 0, 1, 1)]).tolist() == [
        [0, pytest.approx(1 / 3), 1]
    ]


def test_a_frame_full_of_boxes_is_joined_in_bounded_time():
    crowd = [box(at, n % 20 / 20, y=n // 20 / 20, size=0.08) for n in range(300) for at in range(0, 600, 200)]
    started = time.process_time()
    assert len(follow(crowd, range(0, 600, 200))) == 300
    assert time.process_time() - started < 3


# Boxes of YOLO11n (int8, OpenVINO) on three real clips; what is in them was counted by eye, frame by frame.
REAL = json.loads((Path(__file__).parent / "boxes_of_clips.json").read_text())
BY_EYE = {
    # Four cars, seen from above: the model takes them for telephones. They come and go at
    "car-detection": [(4.4, 8.2), (14.4, 18.0), (14.9, 18.8), (25.1, 27.8)],
    # Six people come one by one and leave again
    "one-by-one-person-detection": [(5, 20), (22, 45), (49, 70), (73, 87), (91, 120), (122, 136)],
    # Three bottles stand there; one is taken away and set back, then two, one by one, then the last one
    "bottle-detection": [(0, 7.2), (0, 32), (0, 18), (10.8, 18), (21.5, 40), (27, 40), (34.2, 40)],
}


@pytest.mark.parametrize("clip", BY_EYE)
def test_as_many_objects_are_followed_as_the_eye_counts_in_real_clips(clip):
    looked, rows = REAL[clip]["looked"], REAL[clip]["boxes"]
    boxes = [
        Found(at, label, Decimal(score).scaleb(-4), tuple(Decimal(v).scaleb(-5) for v in place))
        for at, label, score, *place in rows
    ]
    tracks = [t for t in follow(boxes, looked) if t.label != "person" or "person" in clip]
    assert len(tracks) == len(BY_EYE[clip])
    for track, (first_s, last_s) in zip(tracks, BY_EYE[clip], strict=True):
        assert first_s * 1000 <= track.first_ms <= (first_s + 2.2) * 1000
        assert (last_s - 1) * 1000 <= track.last_ms <= last_s * 1000
