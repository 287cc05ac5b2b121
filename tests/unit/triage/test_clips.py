"""What happens in a clip: learned from labels of whole clips, told with its time, the same under a seed, safe to open."""

import json
import shutil

import numpy as np
import pytest
from django.core.management import call_command

from archive.errors import BadInput, ModelUnavailable
from triage import clips, registry, trained
from triage.analysers import About, Span
from triage.analysers.clip_activity import ClipActivity
from triage.clips import Clip
from triage.management import training

pytestmark = [pytest.mark.embedded, pytest.mark.slow]

WIDTH = 24
WAY = np.random.default_rng(1).normal(size=(3, WIDTH))


def clip(seed: int, *, moves: bool, group: str = "", seconds: int = 12) -> Clip:
    """A clip of a room of its own; in some, from its middle on for 3 s, something changes."""
    generator = np.random.default_rng(seed)
    at_ms = list(range(0, seconds * 1000, 200))
    rows = generator.normal(size=WIDTH) * 3 + generator.normal(size=(len(at_ms), WIDTH)) * 0.05
    if moves:
        half = len(at_ms) // 2
        rows[half : half + 15] += np.linspace(0, 3, 15)[:, None] * WAY[0]
        rows[half + 15 :] += 3 * WAY[0]
    else:
        rows += np.sin(np.linspace(0, 9, len(at_ms)))[:, None] * WAY[1]
    return Clip(at_ms, rows, int(moves), group)


@pytest.fixture(scope="module")
def some():
    return [clip(n, moves=bool(n % 2), group=f"s{n // 4}") for n in range(12)]


@pytest.fixture(scope="module")
def weights(some):
    return clips.train(some, classes=2, ordinary=0, seed=3)


def test_it_learns_when_something_happens_from_labels_of_whole_clips(weights):
    classifier = clips.Classifier(weights, ordinary=0)
    for seed in range(50, 56):
        unseen = clip(seed, moves=bool(seed % 2))
        assert int(classifier.clip(unseen.at_ms, unseen.vectors).argmax()) == unseen.label
    moving = clip(51, moves=True)
    told = [s for s in classifier.spans(moving.at_ms, classifier.project(moving.vectors)) if s.label == 1]
    # it happens from 6 s on: a window of 3.2 s sees it from 2.8 s on
    assert told and all(2800 <= s.at_ms < s.until_ms <= 11_800 and 0.5 < s.score <= 1 for s in told)


def test_the_same_clips_and_seed_give_the_same_weights(some, weights):
    again = clips.train(some, classes=2, ordinary=0, seed=3)
    assert {n: a.tobytes() for n, a in again.arrays.items()} == {
        n: a.tobytes() for n, a in weights.arrays.items()
    }


def test_a_clip_of_less_than_a_window_is_looked_at(weights):
    (told,) = clips.Classifier(weights).spans(
        [0, 400], np.zeros((2, clips.DIRECTIONS), np.float32)[:, :WIDTH]
    )
    assert (told.at_ms, told.until_ms) == (0, 400)


def test_a_class_without_a_clip_is_refused(some):
    with pytest.raises(ValueError, match="no clip"):
        clips.train(some, classes=3)


# --- as a file --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def once(tmp_path_factory, some):
    labelled = training.Labelled(some, ("other", "fall"), "a" * 64)
    out = tmp_path_factory.mktemp("clips") / "falls.safetensors"
    told = training.train(
        labelled, out=out, ordinary="other", leave_out="s2", seed=3, progress=lambda *_: None
    )
    return out, told


@pytest.fixture
def saved(once, tmp_path):
    """A trained file of the test's own, with its card beside it, and what was told of it."""
    for path in once[0].parent.iterdir():
        shutil.copy(path, tmp_path)
    return tmp_path / once[0].name, once[1]


def test_a_file_says_what_it_is_and_how_well_it_did(saved):
    out, told = saved
    weights, card = trained.read(out)
    assert (card.classes, card.ordinary, card.dataset_sha256) == (("other", "fall"), "other", "a" * 64)
    assert card.measured["of"] == 4 and card.measured["how"] == "on s2, which was left out"
    beside = json.loads(out.with_name(out.name + ".json").read_text())
    assert beside["sha256"] == told["sha256"] and beside["labelled"] == {"fall": 6, "other": 6}
    again = trained.save(out, weights, card)
    assert again == told["sha256"], "the same bytes"
    assert any("on s2" in line for line in training.text(told))


@pytest.mark.parametrize(
    "change",
    [
        lambda data: b"\x80\x04" + data,
        lambda data: data[: len(data) // 2],
        lambda data: data.replace(b"amparo-clips-1", b"amparo-clips-9"),
        lambda data: data.replace(b'\\"other\\"', b'\\"o<her\\"'),
        lambda data: b"",
    ],
    ids=["a_pickle", "cut_off", "another_format", "names_that_are_none", "empty"],
)
def test_a_file_that_is_none_is_refused(saved, change):
    out, _ = saved
    out.chmod(0o644)
    out.write_bytes(change(out.read_bytes()))
    with pytest.raises(ModelUnavailable, match="no clip classifier"):
        trained.read(out)


@pytest.mark.django_db
def test_a_registered_classifier_is_a_model_that_runs(saved, settings, tmp_path, capsys):
    settings.MODELS_DIR = tmp_path / "models"
    assert registry.trained() == {}
    call_command("models", "register", str(saved[0]))
    (entry,) = registry.trained().values()
    assert (entry.classes, entry.sha256) == (("other", "fall"), saved[1]["sha256"])
    assert registry.is_installed(entry) and entry in registry.in_use()
    assert registry.faults(entry, settings.MODELS_DIR) == []
    call_command("models", "verify")
    assert "clip-activity: verified" in capsys.readouterr().out


def test_one_trained_on_other_features_is_refused(saved, settings, tmp_path, monkeypatch):
    other = registry.get("mobilenet-v2-imagenet")
    monkeypatch.setattr(registry, "get", lambda name, root=None: other)
    with pytest.raises(BadInput, match="other features"):
        trained.register(saved[0], tmp_path / "models")


def test_the_analyser_tells_spans_of_videos_and_leaves_out_the_ordinary(weights):
    analyser = ClipActivity(
        registry.trained_entry(classes=("other", "fall"), size=1, sha256="0" * 64, title="")
    )
    analyser.classifier = clips.Classifier(weights, ordinary=0)
    for moves in (True, False):
        analyser.begin(About("video"))
        some = clip(60 + moves, moves=moves)
        analyser.at_ms, analyser.rows = list(some.at_ms), list(analyser.classifier.project(some.vectors))
        told = analyser.end()
        assert bool(told) == moves
        assert all(isinstance(span, Span) and span.tag.label == "fall" for span in told)
    analyser.begin(About("image"))
    assert analyser.end() == []


# --- figures ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"), [(0, 10, 0, 0.3085), (5, 5, 0.4782, 1), (19, 23, 0.6122, 0.9505)]
)
def test_the_interval_of_a_share_is_exact(hits, of, low, high):
    """R: binom.test(hits, of)$conf.int"""
    assert training.interval(hits, of) == pytest.approx((low, high), abs=5e-5)


def test_a_folders_name_says_group_and_class():
    assert training._named("s1_fall") == ("s1", "fall")
    assert training._named("fall") == ("", "fall")
    assert training._named("s1_daily_act") == ("s1", "daily_act")


def test_what_cannot_be_learned_or_measured_is_said(some, tmp_path):
    labelled = training.Labelled(some, ("other", "fall"), "a" * 64)
    for options in ({"ordinary": "walk"}, {"leave_out": "s9"}):
        chosen = {"ordinary": "", "leave_out": "", **options}
        with pytest.raises(BadInput):
            training.train(labelled, out=tmp_path / "f", seed=0, progress=lambda *_: None, **chosen)
    assert list(tmp_path.iterdir()) == []
