"""Networks in OpenVINO, from whatever they were saved as. Runs in the model process only.

OpenVINO's own files, ONNX, TensorFlow Lite, and TensorFlow's SavedModel (which is what Keras writes with
`model.export`) are read as they are; neither TensorFlow nor Keras is needed. Shapes are fixed before compiling.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archive.errors import ModelUnavailable
from triage.registry import ModelEntry

Pixels = NDArray[np.uint8]
Numbers = NDArray[np.float32]
# One square picture in; out come the network's own first output, which the next call overwrites, and the vector of its
# hidden layer where one is registered.
Session = Callable[[Pixels], tuple[Numbers, Numbers | None]]
ENDINGS = (".xml", ".onnx", ".tflite")
GREY = 114  # what ultralytics fills up with


def read(entry: ModelEntry, copy: Path) -> Any:
    """The network as OpenVINO reads it, with its shapes fixed. Raises ModelUnavailable."""
    import openvino

    if any(file.name.endswith((".keras", ".h5")) for file in entry.files):
        raise ModelUnavailable(
            f"{entry.name} is a Keras archive, which only Keras opens. Write it with model.export('folder') "
            "where Keras is, and register the files of that folder."
        )
    files = [copy / file.name for file in entry.files]
    # a SavedModel is its whole folder
    saved = [path.parent for path in files if path.name == "saved_model.pb"]
    path = next(iter(saved), None) or next((p for p in files if p.suffix in ENDINGS), None)
    if path is None:
        raise ModelUnavailable(
            f"{entry.name} has no file that OpenVINO opens: {', '.join(ENDINGS)} or SavedModel."
        )
    try:
        network = openvino.Core().read_model(path)
        if network.input().partial_shape.is_dynamic:
            shape, side = network.input().partial_shape, entry.input_size
            planar = shape[1].is_static and shape[1].get_length() == 3
            network.reshape([1, 3, side, side] if planar else [1, side, side, 3])
    except RuntimeError as error:
        raise ModelUnavailable(
            f"OpenVINO cannot open {entry.name} ({str(error).splitlines()[0][:200]})."
        ) from error
    return network


def is_planar(network: Any) -> bool:
    """Whether its input has colours first (ultralytics, ONNX), not last (TensorFlow)."""
    return bool(network.input().partial_shape[1].get_length() == 3)


def hidden(entry: ModelEntry, network: Any) -> Any:
    """The output of the layer that vectors are made of: the registered one, or the last that pools over the whole area.

    Raises ModelUnavailable when there is none.
    """
    layer = entry.vector.layer if entry.vector else ""
    named = [
        node.output(0)
        for node in network.get_ordered_ops()
        if (node.get_friendly_name() == layer if layer else node.get_type_name() in ("AvgPool", "ReduceMean"))
    ]
    if not named:
        raise ModelUnavailable(f"{entry.name} has no layer to make vectors of ({layer or 'pool'}).")
    return named[-1]


def unrounded(output: Any) -> Any:
    """A quantised network's output before it is rounded to 8 bits."""
    source = output.get_node().input_value(0)
    while source.get_node().get_type_name() in ("Convert", "FakeQuantize"):
        source = source.get_node().input_value(0)
    return source


def pooled(entry: ModelEntry, raw: NDArray[Any]) -> Numbers:
    """One number for each channel of a hidden layer: the mean over the area, or the greatest where the entry says so."""
    of = entry.vector
    if raw.ndim == 4 and of:
        area = (2, 3) if raw.shape[1] == of.width else (1, 2)  # colours first, or last
        raw = (np.max if of.greatest else np.mean)(raw, axis=area)
    return np.array(raw[0], np.float32)


def fed(entry: ModelEntry, network: Any) -> Any:
    """The same network, fed with 8-bit BGR pictures in rows; what it was trained to see is made inside it."""
    import openvino
    from openvino.preprocess import ColorFormat, PrePostProcessor

    steps = PrePostProcessor(network)
    given = steps.input()
    given.tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
    given.tensor().set_color_format(ColorFormat.BGR)
    inside = given.preprocess().convert_color(ColorFormat.RGB)
    if network.input().element_type != openvino.Type.u8:
        low, high = (float(v) for v in entry.pixel_range)
        scale = 255 / (high - low)
        inside.convert_element_type(openvino.Type.f32)
        if low:
            inside.mean(-low * scale)
        inside.scale(scale)
    given.model().set_layout(openvino.Layout("NCHW" if is_planar(network) else "NHWC"))
    return steps.build()


def compiled(network: Any, lanes: int, *, exact: bool = False) -> Any:
    """Compiled for the processor, with a stream for each lane: that gets more pictures through the same cores.

    `exact`: in 32 bits even where the processor is faster in 16.
    """
    import openvino

    options = {
        "NUM_STREAMS": lanes,
        "INFERENCE_NUM_THREADS": max(lanes, os.cpu_count() or 1),
        **({"INFERENCE_PRECISION_HINT": "f32"} if exact else {}),
    }
    return openvino.Core().compile_model(network, "CPU", options)


def ready(entry: ModelEntry, copy: Path, lanes: int) -> Any:
    """A registered network compiled for so many lanes: output 0 is its own, output 1 its hidden layer, if registered.

    One way for all who read it: a network cut off after the hidden layer, or one that gives another layer, is compiled
    to other numbers. Raises ModelUnavailable.
    """
    import openvino

    network = read(entry, copy)
    outputs = [unrounded(network.outputs[0]), *([hidden(entry, network)] if entry.vector else [])]
    return compiled(fed(entry, openvino.Model(outputs, network.get_parameters())), lanes)


def opened(entry: ModelEntry, copy: Path, lanes: int) -> Callable[[], Session]:
    """A registered network; each call gives a lane a session of its own. Raises ModelUnavailable."""
    network = ready(entry, copy, lanes)

    def session() -> Session:
        request = network.create_infer_request()

        def run(square: Pixels) -> tuple[Numbers, Numbers | None]:
            request.infer({0: np.ascontiguousarray(square[None])}, share_inputs=True)
            vector = pooled(entry, request.get_output_tensor(1).data) if entry.vector else None
            return request.get_output_tensor(0).data, vector

        return run

    return session


def fitted(pixels: Pixels, side: int, *, whole: bool) -> Pixels:
    """The picture in a square: stretched to it, or `whole` in the middle of grey, as ultralytics does."""
    import cv2

    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    if not whole:
        way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        return cv2.resize(pixels, (side, side), interpolation=way)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    square = np.full((side, side, 3), GREY, np.uint8)
    top, left = (side - size[1]) // 2, (side - size[0]) // 2
    square[top : top + size[1], left : left + size[0]] = cv2.resize(
        pixels, size, interpolation=cv2.INTER_LINEAR
    )
    return square
