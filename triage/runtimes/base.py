"""What an analyser gets its network from. Runs in the model process only: it imports the heavy libraries."""

import os
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from archive.errors import ModelUnavailable
from triage import registry
from triage.analysers.base import FrameBatch
from triage.registry import ModelEntry

if TYPE_CHECKING:
    import numpy


Pixels = Any  # numpy array, height x width x 3, BGR, 8 bit


@dataclass(frozen=True)
class Output:
    """What a network says of one picture: its own result, and the vector of its hidden layer where one is registered."""

    own: "numpy.ndarray[Any, Any]"
    hidden: "numpy.ndarray[Any, Any] | None" = None


@dataclass(frozen=True)
class Square:
    """How a picture is brought to the size of a network: stretched, or `whole` in the middle of grey; 0: not at all."""

    side: int = 0
    whole: bool = False

    def __call__(self, pixels: Pixels) -> Pixels:
        """The picture in that square."""
        if not self.side:
            return pixels
        from triage.runtimes import networks

        return networks.fitted(pixels, self.side, whole=self.whole)


Run = Callable[[Pixels, Pixels], Output]  # the picture, and its square
Loaded = tuple[Square, Callable[[], Run]]


@dataclass(frozen=True)
class Net:
    """An open network. Several analysers may read it: of the same frame it runs once, on a square made once."""

    name: str
    square: Square
    run: Run

    def __call__(self, pixels: Pixels) -> Output:
        """What it says of one picture: 8-bit BGR of any size."""
        return self.run(pixels, self.square(pixels))

    def of(self, frames: FrameBatch, index: int) -> Output:
        """What it says of one frame of a batch."""
        pixels = frames.pixels[index]

        def run() -> Output:
            return self.run(pixels, frames.once(index, str(self.square), lambda: self.square(pixels)))

        return cast(Output, frames.once(index, self.name, run))


# No library of ours phones home, looks for updates or installs anything. There is no network here either.
QUIET = {
    "YOLO_OFFLINE": "true",
    "YOLO_AUTOINSTALL": "false",
    "YOLO_VERBOSE": "false",
    "OPENVINO_TELEMETRY": "0",
    "HF_HUB_OFFLINE": "1",
    "OPENCV_IO_MAX_IMAGE_PIXELS": str(150_000_000),
}


class Runtime:
    """Opens networks from verified copies of registered weights, kept in a private folder until `close`."""

    def __init__(self, weights: Path, *, lanes: int = 1, scratch: Path | None = None) -> None:
        """`weights` holds one folder for each installed model; so many `lanes` will use a network side by side."""
        self.weights, self.lanes = weights, lanes
        self._open: dict[str, Loaded] = {}
        self._scratch = tempfile.TemporaryDirectory(prefix="amparo-models-", dir=scratch)
        self.scratch = Path(self._scratch.name)
        os.environ.update(QUIET, YOLO_CONFIG_DIR=str(self.scratch))

    def close(self) -> None:
        """Remove the copies."""
        self._scratch.cleanup()

    def opencv(self) -> Any:
        """The OpenCV module, on one thread: lanes run side by side already."""
        import cv2

        cv2.setNumThreads(1)
        return cv2

    def cascade(self, name: str) -> Any:
        """One of the cascades that come inside OpenCV. Raises ModelUnavailable."""
        cv2 = self.opencv()
        found = cv2.CascadeClassifier(str(Path(cv2.data.haarcascades) / name))
        if found.empty():
            raise ModelUnavailable(f"This OpenCV has no cascade {name}: install the pinned opencv-python.")
        return found

    def copied(self, entry: ModelEntry) -> Path:
        """The folder of a model's verified copy, made once. Raises ModelUnavailable."""
        # ultralytics tells an OpenVINO export by the end of its folder's name
        copy = self.scratch / f"{entry.name}_openvino_model"
        if not copy.exists():
            registry.verified_copy(entry, self.weights / entry.name, copy)
        return copy

    def load(self, entry: ModelEntry) -> Net:
        """A registered model, opened once however many lanes ask, each with a session of its own.

        Its files are copied and hashed, and only the copy is opened. Raises ModelUnavailable when a file is absent
        or is not the pinned one; then nothing was opened.
        """
        if entry.name not in self._open:
            loader = LOADERS.get(entry.framework)
            if loader is None:
                raise ModelUnavailable(f"{entry.name} needs the framework {entry.framework!r}, unknown here.")
            copy = self.copied(entry)
            self._open[entry.name] = loader(self, entry, copy)
        square, session = self._open[entry.name]
        return Net(entry.name, square, session())


def _pictures(runtime: Runtime, entry: ModelEntry, copy: Path) -> Loaded:
    """Any network that OpenVINO reads and that takes one picture, stretched to a square: its first output."""
    from triage.runtimes import networks

    ready = networks.opened(entry, copy, runtime.lanes)

    def session() -> Run:
        network = ready()

        def run(pixels: Pixels, square: Pixels) -> Output:
            own, hidden = network(square)
            return Output(own[0].copy(), hidden)

        return run

    return Square(entry.input_size), session


def _yolo_openvino(runtime: Runtime, entry: ModelEntry, copy: Path) -> Loaded:
    """An ultralytics export in OpenVINO itself, with ultralytics' own steps before and after it.

    The same numbers as `YOLO(copy).predict`, which runs one picture at a time on all cores; here each lane has a
    stream of its own, which gets more pictures through the same cores.
    """
    import torch
    from ultralytics.utils.nms import non_max_suppression
    from ultralytics.utils.ops import scale_boxes

    from triage.runtimes import networks

    torch.set_num_threads(1)
    network, side = networks.read(entry, copy), entry.input_size
    if list(network.input().shape) != [1, 3, side, side] or network.output().shape[1] != 4 + len(
        entry.classes
    ):
        raise ModelUnavailable(f"The shapes of {entry.name} are not those in models.toml.")
    ready = networks.opened(entry, copy, runtime.lanes)
    score, overlap = float(entry.thresholds["score"]), float(entry.thresholds["overlap"])

    def session() -> Run:
        network = ready()

        def run(pixels: Pixels, square: Pixels) -> Output:
            own, hidden = network(square)
            found = non_max_suppression(torch.from_numpy(own), score, overlap, max_det=300)[0]
            found[:, :4] = scale_boxes((side, side), found[:, :4], pixels.shape)
            return Output(found.numpy(), hidden)

        return run

    return Square(side, whole=True), session


def _yolo_torch(runtime: Runtime, entry: ModelEntry, copy: Path) -> Loaded:
    """An ultralytics checkpoint. Opening one runs code that it carries: it is done here only, after the hash check."""
    from ultralytics import YOLO, settings

    settings.update({"sync": False})
    model = YOLO(copy / entry.files[0].name, task="detect", verbose=False)
    if tuple(model.names.values()) != entry.classes:
        raise ModelUnavailable(f"The classes of {entry.name} are not those in models.toml.")
    options = {"conf": float(entry.thresholds["score"]), "iou": float(entry.thresholds["overlap"])}
    options |= {"imgsz": entry.input_size, "max_det": 300, "verbose": False, "save": False}
    lock = threading.Lock()

    def run(pixels: Pixels, _: Pixels) -> Output:
        with lock:
            return Output(model.predict(pixels, **options)[0].boxes.data.cpu().numpy())

    return Square(), lambda: run


def _yunet(runtime: Runtime, entry: ModelEntry, copy: Path) -> Loaded:
    """YuNet in OpenCV: x, y, width, height, ten numbers of landmarks that nobody here reads, score."""
    import numpy

    cv2 = runtime.opencv()
    score, overlap = float(entry.thresholds["score"]), float(entry.thresholds["overlap"])

    def session() -> Run:
        network = cv2.FaceDetectorYN.create(
            str(copy / entry.files[0].name), "", (320, 320), score, overlap, 300
        )

        def run(pixels: Pixels, _: Pixels) -> Output:
            height, width = pixels.shape[:2]
            network.setInputSize((width, height))
            _, found = network.detect(pixels)
            return Output(numpy.zeros((0, 15), numpy.float32) if found is None else found)

        return run

    return Square(), session


def _captioner(runtime: Runtime, entry: ModelEntry, copy: Path) -> Loaded:
    """An encoder and a decoder: a row for each token of the sentence, its number and its chance."""
    from triage.runtimes import captioning

    ready = captioning.opened(entry, copy, runtime.lanes)

    def session() -> Run:
        describe = ready()
        return lambda pixels, _: Output(describe(pixels))

    return Square(), session


LOADERS: dict[str, Callable[[Runtime, ModelEntry, Path], Loaded]] = {
    "ultralytics-openvino": _yolo_openvino,
    "ultralytics-torch": _yolo_torch,
    "opencv-yunet": _yunet,
    "openvino": _pictures,
    "onnx": _pictures,
    "onnx-captioner": _captioner,
    "tensorflow": _pictures,
    "tensorflow-lite": _pictures,
}
