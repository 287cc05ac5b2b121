"""A captioner says what an independent loop says of the same networks (tests/vectors/networks/captioner/make.py)."""

import json
import shutil

import numpy as np
import pytest

from archive.errors import BadInput, ModelUnavailable
from tests.captioning import EXPECTED, FOLDER, SAID, in_use, registered
from triage import analysers, captions, registry, scoring
from triage.analysers import About, FrameBatch
from triage.facts import Facts, Written
from triage.runtimes import host
from triage.runtimes.base import Runtime


def picture(name: str) -> np.ndarray:
    import cv2

    return cv2.imread(str(FOLDER / name))


@pytest.fixture(scope="module")
def captioner(tmp_path_factory):
    """The registered captioner, open."""
    root = tmp_path_factory.mktemp("models")
    (one,) = [a for a in analysers.plan([registered(root)]) if a.task is analysers.Task.CAPTION]
    runtime = Runtime(root)
    one.open(runtime)
    yield one
    runtime.close()


def test_its_tokens_and_their_chances_are_those_of_the_reference(captioner):
    for name, expected in EXPECTED["said"].items():
        own = captioner.net(picture(name)).own
        assert own[:, 0].astype(int).tolist() == expected["ids"]
        assert own[:, 1] == pytest.approx(expected["chances"], abs=1e-4)


def test_it_describes_each_picture_and_another_when_it_is_turned_round(captioner):
    names = sorted(SAID)
    frames = FrameBatch([picture(name) for name in names], [0] * len(names))
    assert [[one.text for one in some] for some in captioner.analyse(frames)] == [
        [SAID[name]] for name in names
    ]
    turned = np.ascontiguousarray(picture("picture-1.png")[:, ::-1])
    ((said,),) = captioner.analyse(FrameBatch([turned], [0]))
    assert said.text == SAID["picture-1.png"].replace("left", "right") and 0.9 < said.score <= 1


def test_a_sentence_that_does_not_end_is_broken_off_and_says_so(captioner, monkeypatch):
    monkeypatch.setattr(captioner, "speech", captions.Speech(0, (99_999,)))
    ((said,),) = captioner.analyse(FrameBatch([picture("picture-1.png")], [0]))
    assert said.text.endswith("…")


def test_of_a_video_at_most_four_moments_are_described(captioner):
    looked = host.Looked([captioner], About("video"))
    for first in range(0, 30, 5):
        looked.add(FrameBatch([picture("picture-1.png")] * 5, [n * 1000 for n in range(first, first + 5)]))
    assert [row[1] for row in looked.head()["captions"]] == [0, 8, 16, 24]


@pytest.mark.parametrize("kind", ["byte level", "wordpiece"])
def test_tokens_spell_what_the_tokenizers_library_reads(kind, tmp_path):
    file = {"byte level": captions.TOKENS, "wordpiece": "wordpiece.json"}[kind]
    shutil.copy(FOLDER / file, tmp_path / captions.TOKENS)
    spelling = captions.Spelling(tmp_path)
    for tokens, words in EXPECTED["read"][kind]:
        assert spelling.read(tokens) == words


def changed(folder, name: str, **values):
    said = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps({key: v for key, v in {**said, **values}.items() if v is not None}))


@pytest.mark.parametrize(
    ("name", "values", "why"),
    [
        (captions.LOOKS, {"size": {"shortest_edge": 224}}, "no square"),
        (captions.LOOKS, {"do_center_crop": True}, "cut"),
        (captions.LOOKS, {"image_std": [0, 0, 0]}, "image_std"),
        (captions.SPEAKS, {"eos_token_id": None}, "eos_token_id"),
        (captions.TOKENS, {"decoder": {"type": "Metaspace"}}, "Metaspace"),
        (captions.TOKENS, {"model": {"vocab": [["a", 0]]}}, "no vocabulary"),
    ],
    ids=str,
)
def test_a_folder_that_is_no_captioner_is_not_registered(name, values, why, tmp_path):
    folder = shutil.copytree(FOLDER, tmp_path / "mirror")
    changed(folder, name, **values)
    with pytest.raises(BadInput, match=why):
        registered(tmp_path / "models", folder)
    (folder / captions.DECODER).unlink()
    with pytest.raises(BadInput, match="has no decoder_model.onnx"):
        registered(tmp_path / "models", folder)
    assert registry.trained(tmp_path / "models") == {}


def test_what_is_registered_is_a_candidate_whose_bytes_are_pinned(tmp_path):
    entry = registered(tmp_path)
    assert registry.trained(tmp_path) == {"caption-drawn": entry}
    assert entry.stage == registry.CANDIDATE and entry not in registry.in_use(tmp_path)
    assert (entry.language, entry.input_size, entry.licence) == ("en", 32, "AGPL-3.0-or-later")
    path = tmp_path / entry.name / captions.DECODER
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    (captioner,) = [a for a in analysers.plan([entry]) if a.task is analysers.Task.CAPTION]
    with pytest.raises(ModelUnavailable, match="not the registered one"):
        captioner.open(Runtime(tmp_path))


def test_networks_that_are_no_such_pair_are_refused(tmp_path):
    folder = shutil.copytree(FOLDER, tmp_path / "mirror")
    shutil.copy(FOLDER / captions.ENCODER, folder / captions.DECODER)
    entry = registered(tmp_path / "models", folder)
    (captioner,) = [a for a in analysers.plan([entry]) if a.task is analysers.Task.CAPTION]
    with pytest.raises(ModelUnavailable, match="decoder without past"):
        captioner.open(Runtime(tmp_path / "models"))


def test_a_registered_captioner_that_is_gone_is_missed_in_words(settings, tmp_path):
    settings.MODELS_DIR = tmp_path
    here, gone = in_use(tmp_path, "here"), in_use(tmp_path, "gone")
    assert registry.in_use() == [gone, here] and "Captioner" not in registry.notice()
    (tmp_path / gone.name / captions.TOKENS).unlink()
    assert registry.in_use() == [here]
    assert "Captioner: gone" in registry.notice() and "Captioner: here" not in registry.notice()


def points(criterion: dict, facts: Facts) -> list[str]:
    rules = {"format": 1, "criteria": [{"name": "x", "weight": "2", **criterion}]}
    scoring.validate(rules)
    return [reason.why for reason in scoring.score(rules, facts)[1]]


def test_only_the_criterion_that_names_captions_counts_them():
    facts = Facts(
        captions=("a burnt Ambulance",), texts=(Written("bakery", machine=True), Written("school", False))
    )
    caption, written = (
        {"kind": "caption", "words": ["ambulance"]},
        {"kind": "written", "words": ["ambulance"]},
    )
    assert points(caption, facts) == ["a model's caption says: ambulance"]
    assert points(written, facts) == []
    assert points({"kind": "tagged", "any_of": ["ambulance"]}, facts) == []
    for word in ("bakery", "school"):
        assert points({"kind": "caption", "words": [word]}, facts) == []
