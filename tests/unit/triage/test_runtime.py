"""Opening weights: nothing is unpickled that is not the pinned file, and what is opened is what was hashed."""

import hashlib
import importlib.util
import pickle
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from archive.errors import ModelUnavailable
from triage import registry
from triage.analysers import FrameBatch
from triage.analysers.detect_yolo import YoloTorch
from triage.runtimes.base import Runtime

pytestmark = pytest.mark.slow

ENTRY = registry.models()["yolo11n-torch"]


@pytest.fixture
def runtime(tmp_path):
    runtime = Runtime(tmp_path / "weights")
    (tmp_path / "weights" / ENTRY.name).mkdir(parents=True)
    yield runtime
    runtime.close()


def registered(path: Path) -> registry.ModelEntry:
    """The entry as it would be if these bytes were the pinned ones."""
    data = path.read_bytes()
    file = replace(ENTRY.files[0], size=len(data), sha256=hashlib.sha256(data).hexdigest())
    return replace(ENTRY, files=(file,), thresholds=ENTRY.thresholds | {"score": Decimal("0.001")})


class Touch:
    """Unpickled, it leaves a trace."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return Path.touch, (self.trace,)


def test_weights_that_are_not_the_pinned_file_are_never_unpickled(runtime, tmp_path):
    """Guards promise: opening a checkpoint runs code that it carries, so only the registered one is opened."""
    trace, path = tmp_path / "trace", runtime.weights / ENTRY.name / "yolo11n.pt"
    path.write_bytes(pickle.dumps(Touch(trace)))
    path.write_bytes(path.read_bytes().ljust(ENTRY.size, b"\0"))
    with pytest.raises(ModelUnavailable, match="not opened"):
        runtime.load(ENTRY)
    assert not trace.exists()
    pickle.loads(path.read_bytes())  # noqa: S301 - the trap itself works
    assert trace.exists()


@pytest.mark.slow
def test_a_checkpoint_of_the_pinned_hash_runs(runtime):
    from ultralytics import YOLO

    path = runtime.weights / ENTRY.name / "yolo11n.pt"
    fresh = YOLO(
        "yolo11n.yaml", task="detect"
    )  # the network without training: its shape is the registered one's
    fresh.model.names = dict(enumerate(ENTRY.classes))
    fresh.save(path)
    analyser = YoloTorch(registered(path))
    analyser.open(runtime)
    import cv2

    package = Path(importlib.util.find_spec("ultralytics").origin).parent
    (found,) = analyser.analyse(FrameBatch([cv2.imread(str(package / "assets" / "bus.jpg"))], [0]))
    assert all(d.label in ENTRY.classes and 0 <= d.score <= 1 for d in found)


def test_a_network_with_other_classes_than_registered_is_refused(runtime):
    from ultralytics import YOLO

    path = runtime.weights / ENTRY.name / "yolo11n.pt"
    fresh = YOLO("yolo11n.yaml", task="detect")
    fresh.model.names = dict(enumerate(reversed(ENTRY.classes)))
    fresh.save(path)
    with pytest.raises(ModelUnavailable, match="classes"):
        runtime.load(registered(path))


def test_copies_of_weights_are_removed(tmp_path):
    runtime = Runtime(tmp_path)
    scratch = runtime.scratch
    assert scratch.exists()
    runtime.close()
    assert not scratch.exists()


def test_a_framework_that_is_not_known_is_said(runtime):
    with pytest.raises(ModelUnavailable, match="jax"):
        runtime.load(replace(ENTRY, framework="jax"))
