"""What every registered analyser promises. A new one is covered by being registered."""

import importlib.util
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy
import pytest
from django.conf import settings

from tests import captioning
from triage import analysers, clips, indicator_model, plugins, registry, trained, trained_indicators
from triage.analysers import (
    About,
    Analyser,
    Caption,
    Detection,
    FrameBatch,
    Span,
    Tag,
    Task,
    Text,
    Vector,
    WordsRefused,
)
from triage.runtimes.base import Runtime
from triage.runtimes.decode import at_most

ROOT = Path(__file__).resolve().parents[2]
# The analysers of packages that are none of ours, beside those that come with Amparo
PACKAGES = Path(__file__).parent / "plugin"
PLUGINS = tuple(PACKAGES / name / plugins.FILE for name in ("amparo_brightness", "amparo_colours"))
CLASSES = {
    **analysers.registered(),
    **{n: c for file in PLUGINS for n, c in plugins.read(file).analysers.items()},
}
NAMES = [
    pytest.param(name, marks=[pytest.mark.weights] if cls.weights else [])
    for name, cls in sorted(CLASSES.items())
]


@pytest.fixture(scope="module", autouse=True)
def _as_in_the_model_process():
    """A plug-in's code is at hand, as where it runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(PACKAGES))
        patch.setattr(plugins, "_given", PLUGINS)
        yield


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """The weights that MODEL_MIRROR has, installed in a folder of this module's own."""
    root = tmp_path_factory.mktemp("models")
    if settings.MODEL_MIRROR:
        list(registry.pull(registry.models(), root=root))
    trained.register(random_classifier(root / "clips.safetensors"), root)
    random_indicator(root)
    captioning.in_use(root)
    return root


def random_classifier(path: Path) -> Path:
    """A clip classifier fitted to noise: what it says is nonsense, of the right kind."""
    generator = numpy.random.default_rng(5)
    some = [clips.Clip([0, 2000], generator.normal(size=(2, 1024)), n % 2) for n in range(4)]
    features = registry.get(trained.FEATURES).sha256
    card = trained.Card(("fall", "other"), "other", features, "0" * 64, {"fall": 2, "other": 2}, 0)
    trained.save(path, clips.train(some, classes=2), card)
    return path


def random_indicator(root: Path) -> None:
    """An indicator fitted to noise that tells of everything, as promoted by a person."""
    generator = numpy.random.default_rng(5)
    widths = {"mobilenet-v1-embedding": 1024, "mobilenet-v2-imagenet": 1280, "yolo11n-int8-openvino": 256}
    blocks = {name: generator.random((20, width)) for name, width in {**widths, "residuals": 162}.items()}
    labels, groups = numpy.arange(20) % 2 == 0, [str(n) for n in range(20)]
    measured = indicator_model.measure(blocks, labels, groups, 0)
    card = trained_indicators.Card("noise", "noise", {}, "0" * 64, 0, {"auc": "0.500"})
    entry = trained_indicators.install(indicator_model.train(blocks, labels, measured, 0), card, root)
    trained_indicators.stage(entry.name, registry.IN_USE, root)


@pytest.fixture(scope="module")
def opened(weights):
    """Open an analyser once; one whose weights are not in the mirror is left out, unless weights are announced."""
    runtime, ready = Runtime(weights), {}

    def get(name: str) -> Analyser:
        if name not in ready:
            cls = analysers.registered()[name]
            (entry, *_) = analysers.runs_on(
                cls, filter(None, map(registry.as_chosen, registry.every(weights).values()))
            ) or [None]
            if entry and not registry.is_installed(entry, weights):
                if settings.MODEL_MIRROR and entry.stage == registry.IN_USE:
                    pytest.fail(f"MODEL_MIRROR is set but has no {entry.name}")
                pytest.skip(f"no weights of {cls.weights}: set MODEL_MIRROR")
            if not all(registry.is_installed(registry.get(name), weights) for name in cls.needs):
                pytest.skip(f"no weights of {', '.join(cls.needs)}: set MODEL_MIRROR")
            ready[name] = cls(entry)
            ready[name].open(runtime)
        return ready[name]

    yield get
    runtime.close()


def photograph(name: str) -> numpy.ndarray:
    import cv2

    package = Path(importlib.util.find_spec("ultralytics").origin).parent
    return cv2.imread(str(package / "assets" / name))


def look(analyser: Analyser, *pixels: numpy.ndarray, facts: dict | None = None) -> list[list]:
    """As the model process asks it about an item: frames no larger than it wants; what it says in the end comes last."""
    analyser.begin(About("image" if len(pixels) == 1 else "video", facts or {}))
    found = []
    if analyser.takes is not None:
        given = [at_most(p, analyser.takes.side) for p in pixels]
        found = analyser.analyse(FrameBatch(given, [n * 1000 for n in range(len(pixels))]))
    return [*map(list, found), list(analyser.end())]


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_it_declares_what_it_is(name):
    cls = analysers.registered()[name]
    assert (
        cls.name == name and isinstance(cls.version, int) and cls.version >= 1 and cls.task in analysers.Task
    )
    assert bool(cls.weights) != bool(cls.built_in), (
        "it names its weights, or the library that it comes inside"
    )
    trained_here = registry.trained_entry(classes=("fall", "other"), size=1, sha256="0" * 64, title="")
    if cls.task is Task.CAPTION:
        trained_here = replace(trained_here, classes=())
    analyser = cls(registry.models().get(cls.weights) or (trained_here if cls.weights else None))
    assert analyser.licence
    assert bool(analyser.width) == (cls.task is Task.EMBED), "an embedder says how long its vectors are"
    assert not cls.tower_languages or cls.task is Task.EMBED, "words have a place among vectors of pictures"
    assert len(set(analyser.classes)) == len(analyser.classes)
    assert bool(analyser.classes) != (cls.task in (Task.EMBED, Task.TEXT, Task.CAPTION)), (
        "what it may say is known beforehand, but for words"
    )
    assert all(isinstance(v, str) for v in analyser.parameters.values()), (
        "an event holds no fractions: they are text"
    )
    assert cls.__doc__


KINDS = {
    Task.DETECT: Detection,
    Task.FACE: Detection,
    Task.EMBED: Vector,
    Task.TEXT: Text,
    Task.CAPTION: Caption,
}


@pytest.mark.parametrize("name", NAMES)
def test_it_gives_one_list_for_each_frame_of_what_its_task_gives(name, opened):
    analyser = opened(name)
    blank = numpy.zeros((360, 640, 3), numpy.uint8)
    *found, whole = look(analyser, photograph("zidane.jpg"), blank, photograph("bus.jpg"))
    assert len(found) == (0 if analyser.takes is None else 3)
    kind = KINDS.get(analyser.task, Tag)
    assert all(isinstance(said, kind) for frame in found for said in frame)
    assert all(isinstance(said, Tag | Span) for said in whole)
    if kind is Detection:
        assert found[1] == []
    for said in [s for frame in found for s in frame]:
        if isinstance(said, Vector):
            values = numpy.frombuffer(said.values, "<f2").astype(float)
            assert len(values) == analyser.width and numpy.linalg.norm(values) == pytest.approx(1, abs=0.002)
            continue
        assert 0.0 <= said.score <= 1.0 and type(said.score) is float
        if isinstance(said, Text | Caption):
            assert said.text.strip() == said.text != ""
        else:
            assert said.label in analyser.classes
        if not isinstance(said, Tag | Caption):
            x, y, width, height = said.box
            assert width > 0 and height > 0 and -0.5 < x < 1 and -0.5 < y < 1
            assert x + width < 1.5 and y + height < 1.5


# Words that a tower in a language has to know
SAYINGS = {"en": "a red house on fire", "ar": "بيت أحمر يحترق"}


@pytest.mark.parametrize("name", [param for param in NAMES if CLASSES[param.values[0]].tower_languages])
def test_a_text_tower_gives_words_a_place_among_its_pictures(name, opened):
    tower = opened(name)
    sayings = [saying for language, saying in SAYINGS.items() if language in tower.tower_languages]
    assert sayings, "a language that is not tried here: add a saying in it"
    for saying in sayings:
        values = numpy.frombuffer(tower.words(saying).values, "<f2").astype(float)
        assert len(values) == tower.width and numpy.linalg.norm(values) == pytest.approx(1, abs=0.002)
        look(tower, photograph("bus.jpg"))
        assert tower.words(saying) == tower.words(saying), "what it saw before does not count"
        for refused in ("", "  ", f"{saying} " * 2000):
            with pytest.raises(WordsRefused):
                tower.words(refused)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_frame_gives_the_same_result_and_is_left_as_it_was(name, opened):
    analyser, pixels = opened(name), photograph("bus.jpg")
    before = pixels.copy()
    assert look(analyser, pixels) == look(analyser, pixels) == look(analyser, pixels.copy())
    assert (pixels == before).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(1, 1), (1, 2000), (2000, 1), (33, 57), (3000, 4000)], ids=str)
def test_it_takes_frames_of_any_size(name, shape, opened):
    pixels = numpy.full((*shape, 3), 127, numpy.uint8)
    analyser = opened(name)
    assert len(look(analyser, pixels)) == (1 if analyser.takes is None else 2)


@pytest.mark.parametrize(
    "name", [param for param in NAMES if CLASSES[param.values[0]].task in registry.ONE_RUNS]
)
def test_it_finds_what_a_person_sees(name, opened):
    analyser = opened(name)
    street, men = look(analyser, photograph("bus.jpg"))[0], look(analyser, photograph("zidane.jpg"))[0]
    if analyser.task is analysers.Task.FACE:
        assert sum(d.label == "face" for d in men) >= 1
    else:
        assert sum(d.label == "person" for d in street) >= 2


def test_no_analyser_identifies_anybody():
    """Faces are counted and boxed; what tells one face from another is neither asked for nor kept."""
    assert set(Detection.__dataclass_fields__) == {"label", "score", "box"}
    assert all(not cls.width for cls in analysers.registered().values() if cls.task is Task.FACE)
    for path in (ROOT / "triage").rglob("*.py"):
        assert "FaceRecognizer" not in path.read_text()


@pytest.mark.weights
def test_the_same_weights_give_the_same_boxes_as_the_reference_runtime(weights, opened):
    """Our OpenVINO session against ultralytics' own predict, on real photographs; tolerance one thousandth."""
    ours = opened("yolo")
    copy = weights / "reference_openvino_model"
    if not copy.exists():
        registry.verified_copy(ours.entry, weights / ours.entry.name, copy)
    from ultralytics import YOLO

    reference = YOLO(copy, task="detect")
    for name in ("bus.jpg", "zidane.jpg"):
        pixels = photograph(name)
        (boxes,) = reference.predict(pixels, conf=0.25, iou=0.70, verbose=False)
        height, width = pixels.shape[:2]
        expected = [
            (ours.classes[int(c)], float(s), x1 / width, y1 / height, (x2 - x1) / width, (y2 - y1) / height)
            for x1, y1, x2, y2, s, c in boxes.boxes.data.tolist()
        ]
        found, _ = look(ours, pixels)
        assert [d.label for d in found] == [row[0] for row in expected]
        assert [(d.score, *d.box) for d in found] == [pytest.approx(row[1:], abs=1e-3) for row in expected]


@pytest.mark.weights
def test_the_detections_are_the_same_whether_or_not_a_vector_is_read_beside_them(weights, opened):
    """Reading the hidden layer must not change how the network is compiled: it did, at a layer that is not 8-bit."""
    ours = opened("yolo")
    alone = type(ours)(replace(ours.entry, vector=None))
    alone.open(Runtime(weights))
    for name in ("bus.jpg", "zidane.jpg"):
        assert look(alone, photograph(name)) == look(ours, photograph(name))


@pytest.mark.weights
def test_the_pipelines_vectors_are_those_of_embed_files(weights, opened, tmp_path):
    """A replayed review and the archive's own queue learn from the same numbers; tolerance: rounding to 16 bits."""
    import cv2

    from triage import embedding

    names = ("bus.jpg", "zidane.jpg")
    for name in names:
        cv2.imwrite(str(tmp_path / f"{name}.png"), photograph(name))
    files = embedding.embed_files(
        [tmp_path / f"{name}.png" for name in names],
        embedders=embedding.EMBEDDERS,
        weights=weights,
        cache=tmp_path / "cache",
    )
    for embedder, block in files.blocks.items():
        for row, name in zip(block, names, strict=True):
            ((vector,), _) = look(opened(embedder), photograph(name))
            ours = numpy.frombuffer(vector.values, "<f2").astype(float)
            assert ours == pytest.approx(row / numpy.linalg.norm(row), abs=2e-4)


@pytest.mark.weights
def test_tags_name_what_the_picture_is_of(opened):
    import cv2

    media = Path(settings.MODEL_MIRROR).parent / "media"
    for name in ("mobilenet-v2-tags", "mobilenet-v2-keras-tags"):
        tags, _ = look(opened(name), cv2.imread(str(media / "parrot.jpg")))
        assert [t.label for t in tags] == ["macaw"] and tags[0].score > 0.9


def test_reading_the_registry_loads_no_model_library():
    """Web processes and ordinary commands import this much; an order is read with numpy."""
    code = (
        "import django, sys; django.setup(); from triage import analysers, pipeline, registry, queue, review;"
        "print(sorted({'torch', 'ultralytics', 'cv2', 'openvino', 'av', 'faiss'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
