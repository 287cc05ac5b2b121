"""The same weights say the same in OpenVINO as where they come from: TensorFlow, Keras, TensorFlow Lite, ONNX, YuNet.

The tolerances stand in docs/triage.md, "Runtimes".
"""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from django.conf import settings

from tests.browser.product import folder_from
from triage import registry
from triage.analysers import FrameBatch
from triage.analysers.faces_yunet import FacesYunet
from triage.registry import ModelEntry, ModelFile
from triage.runtimes import networks
from triage.runtimes.base import Runtime

SAVED = Path(__file__).resolve().parents[2] / "vectors" / "networks"
SAID = json.loads((SAVED / "expected.json").read_text())
READ = 1e-5  # of a share, for a network of 32-bit fractions that is calculated in as many
FRACTIONS = 0.005  # the same where a processor that has 16-bit fractions (bfloat16) calculates in those, as OpenVINO chooses
REFERENCE = 0.10  # of a share, for a network of 8 bits, to TensorFlow Lite's reference kernels
COSINE = 0.999  # of a vector out of 8 bits


@pytest.fixture
def runtime(tmp_path):
    runtime = Runtime(tmp_path / "weights")
    yield runtime
    runtime.close()


def registered(name: str, framework: str) -> ModelEntry:
    """A network of the vectors as an entry would have it."""
    home, files = SAVED / name, []
    for path in sorted(path for path in (home.rglob("*") if home.is_dir() else [home]) if path.is_file()):
        data, within = path.read_bytes(), str(path.relative_to(home if home.is_dir() else SAVED))
        mirror = str(path.relative_to(SAVED))
        files.append(ModelFile(within, "", mirror, len(data), hashlib.sha256(data).hexdigest()))
    entry = registry.own()["mobilenet-v2-imagenet"]
    return replace(entry, name=name, framework=framework, files=tuple(files), input_size=32, vector=None)


@pytest.mark.parametrize(
    ("name", "framework"),
    [
        ("tensorflow-savedmodel", "tensorflow"),
        ("keras-export", "tensorflow"),
        ("keras-to-onnx.onnx", "onnx"),
        ("keras-to-lite.tflite", "tensorflow-lite"),
    ],
)
def test_a_network_says_what_it_said_where_it_was_made(runtime, monkeypatch, name, framework):
    """Guards promise: the TensorFlow users' models run without TensorFlow."""
    import openvino

    entry = registered(name, framework)
    monkeypatch.setattr(registry, "models", lambda: {name: entry})
    (report,) = registry.pull([name], root=runtime.weights, mirror=str(SAVED))
    assert report.fault == ""
    red_first = np.frombuffer(bytes.fromhex(SAID["picture_rgb"]), np.uint8).reshape(32, 32, 3)
    picture = red_first[..., ::-1].copy()
    assert runtime.load(entry)(picture).own == pytest.approx(SAID[name], abs=FRACTIONS)
    network = networks.fed(entry, networks.read(entry, runtime.copied(entry)))
    exact = openvino.Core().compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    assert exact(picture[None])[0][0] == pytest.approx(SAID[name], abs=READ)
    assert np.ptp(SAID[name]) > 0.1, "it tells something apart"


def real(name: str) -> tuple[ModelEntry, Path, list[np.ndarray]]:
    """A registered model, the folder with its file, and photographs."""
    import cv2

    entry, media = registry.own()[name], folder_from("TEST_MEDIA", "media")
    if not settings.MODEL_MIRROR or media is None:
        pytest.skip("set MODEL_MIRROR and TEST_MEDIA to real weights and photographs")
    pictures = [cv2.imread(str(path)) for path in sorted(media.glob("*.jpg"))]
    assert (Path(settings.MODEL_MIRROR) / entry.files[0].mirror).exists() and len(pictures) >= 3
    return entry, (Path(settings.MODEL_MIRROR) / entry.files[0].mirror).parent, pictures


def lite(path: Path):
    """TensorFlow Lite's own runtime with its reference kernels: a square of 8 bits in, fractions out."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(str(path), experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    interpreter.allocate_tensors()
    (given,), (out,) = interpreter.get_input_details(), interpreter.get_output_details()
    scale, zero = out["quantization"]

    def run(square: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(given["index"], np.ascontiguousarray(square[None, :, :, ::-1]))
        interpreter.invoke()
        return (interpreter.get_tensor(out["index"]).reshape(-1).astype(np.float32) - zero) * scale

    return run


@pytest.mark.weights
@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenet-v2-imagenet", "mobilenet-v2-keras"])
def test_real_tags_are_those_of_tensorflow_lite(name):
    entry, folder, pictures = real(name)
    ours, theirs = networks.opened(entry, folder, 1)(), lite(folder / entry.files[0].name)
    for pixels in pictures:
        square = networks.fitted(pixels, entry.input_size, whole=False)
        mine, reference = ours(square)[0][0], theirs(square)
        assert np.abs(mine - reference).max() <= REFERENCE
        first, second = np.sort(reference)[:-3:-1]
        if first - second > 2 * REFERENCE:  # else either may be first
            assert mine.argmax() == reference.argmax()


@pytest.mark.weights
@pytest.mark.slow
def test_real_vectors_are_those_of_tensorflow_lite():
    entry, folder, pictures = real("mobilenet-v1-embedding")
    ours, theirs = networks.opened(entry, folder, 1)(), lite(folder / entry.files[0].name)
    for pixels in pictures:
        square = networks.fitted(pixels, entry.input_size, whole=False)
        mine, reference = ours(square)[1], theirs(square)
        assert mine @ reference / np.linalg.norm(mine) / np.linalg.norm(reference) >= COSINE


@pytest.mark.weights
def test_a_real_onnx_file_says_in_openvino_what_it_says_in_opencv(tmp_path):
    """YuNet's twelve outputs as they leave the network, before any of them is read as a face."""
    import cv2
    import openvino

    entry, folder, pictures = real("yunet-2026may")
    network = networks.read(replace(entry, input_size=640), folder)
    compiled = openvino.Core().compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    other = cv2.dnn.readNetFromONNX(str(folder / entry.files[0].name))
    names = [next(iter(out.names)) for out in network.outputs]
    given = cv2.dnn.blobFromImage(cv2.resize(pictures[0], (640, 640)))
    other.setInput(given)
    for mine, theirs in zip(compiled(given).values(), other.forward(names), strict=True):
        assert mine.reshape(-1) == pytest.approx(theirs.reshape(-1), abs=1e-3)


@pytest.mark.weights
def test_faces_are_those_that_opencv_finds(runtime):
    import cv2

    entry, folder, pictures = real("yunet-2026may")
    (runtime.weights / entry.name).mkdir(parents=True)
    weights = runtime.weights / entry.name / entry.files[0].name
    weights.write_bytes((folder / entry.files[0].name).read_bytes())
    analyser = FacesYunet(entry)
    analyser.open(runtime)
    for pixels in pictures:
        height, width = pixels.shape[:2]
        detector = cv2.FaceDetectorYN.create(str(weights), "", (width, height), 0.6, 0.3, 300)
        found = detector.detect(pixels)[1]
        boxes = [] if found is None else found[:, :4] / [width, height, width, height]
        (mine,) = analyser.analyse(FrameBatch([pixels], [0]))
        assert np.array([face.box for face in mine]) == pytest.approx(np.array(boxes), abs=1e-6)
