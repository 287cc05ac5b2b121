"""What an analyser gets its network from. Runs in the model process only: it imports the heavy libraries."""

import os
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archive.errors import ModelUnavailable
from triage import registry
from triage.registry import ModelEntry

if TYPE_CHECKING:
    import numpy

Net = Callable[["numpy.ndarray[Any, Any]"], "numpy.ndarray[Any, Any]"]

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
        self._open: dict[str, Callable[[], Net]] = {}
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

    def load(self, entry: ModelEntry) -> Net:
        """A registered model, opened once however many lanes ask, each with a session of its own.

        Its files are copied and hashed, and only the copy is opened. Raises ModelUnavailable when a file is absent
        or is not the pinned one; then nothing was opened.
        """
        if entry.name not in self._open:
            loader = LOADERS.get(entry.framework)
            if loader is None:
                raise ModelUnavailable(f"{entry.name} needs the framework {entry.framework!r}, unknown here.")
            # ultralytics tells an OpenVINO export by the end of its folder's name
            copy = self.scratch / f"{entry.name}_openvino_model"
            registry.verified_copy(entry, self.weights / entry.name, copy)
            self._open[entry.name] = loader(self, entry, copy)
        return self._open[entry.name]()


def _yolo_openvino(runtime: Runtime, entry: ModelEntry, copy: Path) -> Callable[[], Net]:
    """An ultralytics export in OpenVINO itself, with ultralytics' own steps before and after it.

    The same numbers as `YOLO(copy).predict`, which runs one picture at a time on all cores; here each lane has a
    stream of its own, which gets more pictures through the same cores.
    """
    import numpy
    import openvino
    import torch
    from ultralytics.data.augment import LetterBox
    from ultralytics.utils.nms import non_max_suppression
    from ultralytics.utils.ops import scale_boxes

    torch.set_num_threads(1)
    core = openvino.Core()
    network = core.read_model(next(copy.glob("*.xml")))
    streams = {"NUM_STREAMS": runtime.lanes, "INFERENCE_NUM_THREADS": max(runtime.lanes, os.cpu_count() or 1)}
    compiled = core.compile_model(network, "CPU", streams)
    side = entry.input_size
    if list(network.input().shape) != [1, 3, side, side] or network.output().shape[1] != 4 + len(
        entry.classes
    ):
        raise ModelUnavailable(f"The shapes of {entry.name} are not those in models.toml.")
    score, overlap = float(entry.thresholds["score"]), float(entry.thresholds["overlap"])

    def session() -> Net:
        request, fit = compiled.create_infer_request(), LetterBox((side, side), auto=False)

        def net(pixels: Any) -> Any:
            planes = fit(image=pixels)[None, ..., ::-1].transpose(0, 3, 1, 2)
            given = numpy.ascontiguousarray(planes).astype(numpy.float32) / 255
            raw = request.infer({0: given}, share_inputs=True, share_outputs=True)[0]
            found = non_max_suppression(torch.from_numpy(raw), score, overlap, max_det=300)[0]
            found[:, :4] = scale_boxes((side, side), found[:, :4], pixels.shape)
            return found.numpy()

        return net

    return session


def _yolo_torch(runtime: Runtime, entry: ModelEntry, copy: Path) -> Callable[[], Net]:
    """An ultralytics checkpoint. Opening one runs code that it carries: it is done here only, after the hash check."""
    from ultralytics import YOLO, settings

    settings.update({"sync": False})
    model = YOLO(copy / entry.files[0].name, task="detect", verbose=False)
    if tuple(model.names.values()) != entry.classes:
        raise ModelUnavailable(f"The classes of {entry.name} are not those in models.toml.")
    options = {"conf": float(entry.thresholds["score"]), "iou": float(entry.thresholds["overlap"])}
    options |= {"imgsz": entry.input_size, "max_det": 300, "verbose": False, "save": False}
    lock = threading.Lock()

    def net(pixels: Any) -> Any:
        with lock:
            return model.predict(pixels, **options)[0].boxes.data.cpu().numpy()

    return lambda: net


def _yunet(runtime: Runtime, entry: ModelEntry, copy: Path) -> Callable[[], Net]:
    """YuNet in OpenCV: x, y, width, height, ten numbers of landmarks that nobody here reads, score."""
    import numpy

    cv2 = runtime.opencv()
    score, overlap = float(entry.thresholds["score"]), float(entry.thresholds["overlap"])

    def session() -> Net:
        network = cv2.FaceDetectorYN.create(
            str(copy / entry.files[0].name), "", (320, 320), score, overlap, 300
        )

        def net(pixels: Any) -> Any:
            height, width = pixels.shape[:2]
            network.setInputSize((width, height))
            _, found = network.detect(pixels)
            return numpy.zeros((0, 15), numpy.float32) if found is None else found

        return net

    return session


LOADERS: dict[str, Callable[[Runtime, ModelEntry, Path], Callable[[], Net]]] = {
    "ultralytics-openvino": _yolo_openvino,
    "ultralytics-torch": _yolo_torch,
    "opencv-yunet": _yunet,
}
