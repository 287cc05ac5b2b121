"""The model process: what it does to itself stays with the item it was on, and nothing it says is believed."""

import hashlib
import io
import json
import struct
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest

from archive.custody.canonical import canonical
from archive.errors import Damaged, ModelUnavailable
from tests import cast
from triage import analysers, registry, results
from triage.analysers.base import Analyser, Task, plan
from triage.runtimes.decode import Sampling
from triage.runtimes.process import FAILURES, SENTENCES, TOGETHER, Limits, ModelProcess, Work, checked

pytestmark = pytest.mark.slow

HOSTS = Path(__file__).parent / "hosts"
QUICK = Limits(memory_mb=256, open_s=30, stall_s=1.5)


def work(order: str) -> Work:
    return Work(order, "image", len(order), lambda: io.BytesIO(order.encode()), 1.0)


@pytest.fixture
def other():
    """A process with somebody else's program in it."""
    with ModelProcess(
        plan([])[:1], weights=HOSTS, limits=QUICK, host="other_host", extra_paths=(HOSTS,)
    ) as process:
        yield process


def outcomes(process: ModelProcess, *orders: str) -> dict[str, str]:
    """What became of each order: 'ok', or the code of its failure."""
    return {o.work.key: "ok" if o.looked else o.code for o in process.look(map(work, orders))}


@pytest.mark.parametrize(
    ("order", "code"), [("die", "died"), ("hang", "time"), ("eat", "died"), ("garbage", "died")]
)
def test_a_bad_item_fails_alone_and_the_process_is_replaced(other, order, code):
    found = outcomes(other, "a", "b", order, "c", "d", "e", "f")
    assert found == {"a": "ok", "b": "ok", order: code, "c": "ok", "d": "ok", "e": "ok", "f": "ok"}
    assert other.replaced == 1


def test_many_bad_items_fail_each_for_itself(other):
    assert outcomes(other, "die", "a", "die ", "garbage", "b") == {
        "die": "died",
        "a": "ok",
        "die ": "died",
        "garbage": "died",
        "b": "ok",
    }


def test_of_several_that_had_begun_only_the_guilty_one_fails(other):
    assert outcomes(other, "a", "slow", "slow ", "die", "b") == {
        "a": "ok",
        "slow": "ok",
        "slow ": "ok",
        "die": "died",
        "b": "ok",
    }
    assert other.replaced == 2, "once with all of them, once with the guilty one alone"


def test_the_first_and_the_last_may_be_bad(other):
    assert outcomes(other, "die") == {"die": "died"}
    assert outcomes(other, "a") == {"a": "ok"}


def test_outcomes_come_together_and_none_waits_for_one_that_takes_long(other):
    together = list(other.look_together(map(work, map(str, range(40)))))
    assert sorted(int(one.work.key) for some in together for one in some) == list(range(40))
    assert len(together) < 10 and max(map(len, together)) <= TOGETHER
    assert [[one.work.key for one in some] for some in other.look_together(map(work, ["a", "hang"]))] == [
        ["a"],
        ["hang"],
    ]


@pytest.mark.parametrize(
    "said",
    [
        {"at_ms": [0], "found": [[9, 0, 0, 1, 0, 0, 1, 1]]},
        {"at_ms": [0], "found": [[0, 7, 0, 1, 0, 0, 1, 1]]},
        {"at_ms": [0], "found": [[0, 0, 500, 1, 0, 0, 1, 1]]},
        {"at_ms": [0], "found": [[0, 0, 0, 10_001, 0, 0, 1, 1]]},
        {"at_ms": [0], "found": [[0, 0, 0, 1, 60_000, 0, 60_000, 1]]},
        {"at_ms": [0], "found": [[0, 0, 0, 1, 0, 0, 0, 1]]},
        {"at_ms": [0], "found": [[0, 0, 0, 1.5, 0, 0, 1, 1]]},
        {"at_ms": [0], "found": [["<script>", 0, 0, 1, 0, 0, 1, 1]]},
        {"at_ms": [], "found": []},
        {"at_ms": [5, 1], "found": []},
        {"at_ms": [-1], "found": []},
        {"at_ms": "now", "found": []},
        {"found": []},
    ],
    ids=json.dumps,
)
def test_what_is_no_result_is_not_believed(other, said):
    assert outcomes(other, json.dumps(said), "a") == {json.dumps(said): "nonsense", "a": "ok"}


def test_it_reaches_no_network(other):
    (outcome,) = other.look([work("network")])
    assert outcome.looked[0].found == ()


def test_only_plain_version_numbers_are_taken_over(other):
    other.start()
    assert other.versions == {"opencv": "0"}


def test_numbers_become_exact_shares():
    said = {"at_ms": [0], "found": [[0, 0, 0, 9421, 12_345, 0, 50_000, 100_000]]}
    (looked,) = checked(said, b"", plan([])[:1], "image")
    (found,) = looked.found
    assert (str(found.score), [str(v) for v in found.box]) == (
        "0.9421",
        ["0.12345", "0.00000", "0.50000", "1.00000"],
    )


class Embedder(Analyser):
    """Gives vectors of two numbers."""

    name, version, task, built_in, width = "two", 1, Task.EMBED, "nothing", 2
    thresholds = {}


class Tagger(Analyser):
    """Gives tags."""

    name, version, task, built_in, classes = "tagger", 1, Task.CLASSIFY, "nothing", ("fire", "smoke")
    thresholds = {}


class Describer(Analyser):
    """Gives sentences."""

    name, version, task, built_in = "describer", 1, Task.CAPTION, "nothing"
    thresholds = {}


class Reader(Analyser):
    """Gives words."""

    name, version, task, built_in = "reader", 1, Task.TEXT, "nothing"
    thresholds = {}


def halves(*numbers: float) -> bytes:
    return struct.pack(f"<{len(numbers)}e", *numbers)


def test_vectors_are_cut_to_their_width_and_a_video_gets_the_mean_of_its_frames():
    said = {"at_ms": [0, 40, 90], "vectors": [[0, 0], [0, 2]], "strides": [2]}
    (looked,) = checked(said, halves(1, 0, 0, 1), [Embedder()], "video")
    assert looked.at_ms == (0, 90)
    assert [(v.at_ms, v.whole) for v in looked.vectors] == [(0, False), (90, False), (0, True)]
    assert struct.unpack("<2e", looked.vectors[2].values) == pytest.approx((0.7071, 0.7071), abs=1e-3)
    (picture,) = checked({"at_ms": [0], "vectors": [[0, 0]]}, halves(0.6, 0.8), [Embedder()], "image")
    assert [(v.at_ms, v.whole) for v in picture.vectors] == [(0, True)]


@pytest.mark.parametrize(
    ("said", "body"),
    [
        ({"vectors": [[0, 0]]}, halves(1, 0, 0)),
        ({"vectors": [[0, 0]]}, halves(1)),
        ({"vectors": [[0, 0]]}, halves(3, 4)),
        ({"vectors": [[0, 0]]}, halves(float("nan"), 1)),
        ({"vectors": [[0, 0], [0, 0]]}, halves(1, 0, 1, 0)),
        ({"vectors": [[1, 0]]}, halves(1, 0)),
        ({"vectors": [[2, 0]]}, halves(1, 0)),
        ({"vectors": []}, halves(1, 0)),
        ({"tags": [[1, 0, 2, 1]]}, b""),
        ({"tags": [[1, 0, 0, 10_001]]}, b""),
        ({"tags": [[1, 7, 0, 1]]}, b""),
        ({"spans": [[1, 50, 10, 0, 1]]}, b""),
        ({"words": [[1, 0, 5, 1, 0, 0, 1, 1]]}, b""),
        ({"words": [[1, 0, "a", 1, 0, 0, 0, 1]]}, b""),
        ({"words": [[1, 0, "a", 1, 0, 0, 1, 1]]}, b""),
        ({"captions": [[1, 0, "a", 1]]}, b""),
        ({"captions": [[2, 0, 5, 1]]}, b""),
        ({"captions": [[2, 0, "a", 10_001]]}, b""),
        ({"captions": [[2, 1, "a", 1]]}, b""),
        ({"strides": [0, 1]}, b""),
        ({"strides": [1]}, b""),
    ],
    ids=str,
)
def test_vectors_tags_and_words_that_cannot_be_are_refused(said, body):
    with pytest.raises((ValueError, IndexError)):
        checked({"at_ms": [0], **said}, body, [Embedder(), Tagger(), Describer()], "image")


def test_words_are_plain_text_and_a_span_has_its_end():
    said = {"at_ms": [0], "words": [[0, 0, "a\x00\u202eb", 1, 0, 0, 1, 1]], "spans": [[1, 10, 90, 1, 5000]]}
    said["captions"] = [[2, 0, "a\x00 \u202edog", 6100], [2, 0, " ", 1]]
    read, tagged, described = checked(said, b"", [Reader(), Tagger(), Describer()], "video")
    assert "\x00" not in read.words[0].text
    assert [(t.at_ms, t.until_ms, t.label) for t in tagged.tags] == [(10, 90, "smoke")]
    ((one,),) = (described.captions,)
    assert "\x00" not in one.text and "dog" in one.text and one.score == Decimal("0.61")
    assert described.canonical == canonical([{"at_ms": 0, "caption": one.text, "score": "0.6100"}])


def test_the_hash_of_detections_alone_is_as_it_was():
    """Guards promise: results that were recorded before there were tags and vectors still verify."""
    assert results.Looked("yolo", (0,)).canonical == b"[]"
    found = results.Found(5, "person", results.SCORE_STEP, (results.BOX_STEP,) * 4)
    told = b'[{"at_ms":5,"box":["0.00001","0.00001","0.00001","0.00001"],"label":"person","score":"0.0001"}]'
    assert results.result_sha256([found]) == hashlib.sha256(told).hexdigest()
    tagged = results.Looked("t", (0,), tags=(results.Tag(0, "fire", results.SCORE_STEP, 90),))
    assert tagged.canonical == b'[{"at_ms":0,"label":"fire","score":"0.0001","until_ms":90}]'


def test_every_code_has_a_sentence_for_people():
    for sentence in (*SENTENCES.values(), *FAILURES.values()):
        assert sentence.endswith((".", "manage.py vault check"))


# --- the real host, on OpenCV's own detectors -----------------------------------------------------------------


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    looking = [analyser for analyser in plan([]) if analyser.takes]
    with ModelProcess(
        looking, weights=tmp_path_factory.mktemp("none"), sampling=Sampling(every_ms=500)
    ) as process:
        yield process


def of(key: str, data: bytes, kind: str = "image", opener=None) -> Work:
    return Work(key, kind, len(data), opener or (lambda: io.BytesIO(data)), 60.0)


def test_pictures_and_videos_go_through_side_by_side(real):
    works = [
        of("photo", cast.jpeg(640, 480)),
        of("clip", cast.mp4(2), "video"),
        of("empty", b""),
        of("pdf", b"%PDF-1.4"),
    ]
    found = {o.work.key: o for o in real.look(works)}
    assert [len(one.at_ms) for one in found["photo"].looked] == [1, 1]
    for one in found["clip"].looked:
        assert one.at_ms[0] == 0 and max(b - a for a, b in pairwise(one.at_ms)) <= 500
    assert [(first, last >= 1900) for first, last in found["clip"].shots] == [(0, True)]
    assert (found["empty"].code, found["pdf"].code) == ("empty", "cannot-decode")
    assert found["pdf"].undecodable and found["pdf"].sentence.startswith("No whole picture could be decoded")


def test_a_video_is_read_where_it_is_needed_not_whole(real):
    data, read = cast.mp4(2), []

    class Counting(io.BytesIO):
        def read(self, size=-1):
            read.append(size)
            return super().read(size)

    (outcome,) = real.look([of("clip", data, "video", lambda: Counting(data))])
    assert outcome.looked and max(read) <= 1 << 20


def test_an_original_that_cannot_be_read_says_why_and_stops_nothing(real):
    def damaged():
        raise Damaged("Bytes of the vault do not match.")

    works = [
        of("bad", b"x", opener=damaged),
        of("bad clip", b"x" * 9, "video", damaged),
        of("good", cast.jpeg()),
    ]
    found = {o.work.key: o for o in real.look(works)}
    assert found["bad"].sentence == found["bad clip"].sentence == "Bytes of the vault do not match."
    assert found["good"].looked and not found["bad"].undecodable


def test_weights_that_are_not_the_pinned_ones_are_not_opened(tmp_path):
    entry = registry.models()["yunet-2026may"]
    (tmp_path / entry.name).mkdir()
    for file in entry.files:
        (tmp_path / entry.name / file.name).write_bytes(b"x" * file.size)
    faces = analysers.registered()["faces-yunet"](entry)
    with (
        pytest.raises(ModelUnavailable, match="not the registered ones"),
        ModelProcess([faces], weights=tmp_path) as process,
    ):
        process.start()
