"""The model process: what it does to itself stays with the item it was on, and nothing it says is believed."""

import io
import json
from itertools import pairwise
from pathlib import Path

import pytest

from archive.errors import Damaged, ModelUnavailable
from tests import cast
from triage import analysers, registry
from triage.analysers.base import plan
from triage.runtimes.decode import Sampling
from triage.runtimes.process import FAILURES, SENTENCES, Limits, ModelProcess, Work, checked

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


def test_every_code_has_a_sentence_for_people():
    for sentence in (*SENTENCES.values(), *FAILURES.values()):
        assert sentence.endswith((".", "manage.py vault check"))


# --- the real host, on OpenCV's own detectors -----------------------------------------------------------------


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    with ModelProcess(
        plan([]), weights=tmp_path_factory.mktemp("none"), sampling=Sampling(every_ms=500)
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
