"""What OpenVINO opens as it is: shapes are fixed, colours and fractions made inside the network."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from archive.errors import ModelUnavailable
from triage import registry
from triage.registry import ModelFile, VectorOf
from triage.runtimes import networks

ENTRY = replace(registry.own()["mobilenet-v1-embedding"], input_size=4, framework="openvino", vector=None)


def saved(folder: Path, *, planar: bool) -> registry.ModelEntry:
    """A network of any size that gives the mean of each colour, in a folder like a verified copy."""
    import openvino
    import openvino.opset13 as ops

    shape, area = ([1, 3, -1, -1], [2, 3]) if planar else ([1, -1, -1, 3], [1, 2])
    given = ops.parameter(shape, np.float32, name="picture")
    mean = ops.reduce_mean(given, ops.constant(np.array(area)), True)
    flat = ops.reshape(ops.relu(mean), ops.constant(np.array([1, 3])), False)
    openvino.save_model(openvino.Model([flat], [given]), folder / "net.xml", compress_to_fp16=False)
    return replace(ENTRY, files=(ModelFile("net.xml", "", "", 0, ""), ModelFile("net.bin", "", "", 0, "")))


@pytest.mark.parametrize("planar", [True, False])
def test_a_picture_reaches_the_network_as_red_green_blue_fractions(tmp_path, planar):
    entry = saved(tmp_path, planar=planar)
    pixels = np.full((4, 4, 3), (51, 102, 255), np.uint8)  # blue, green, red
    own, hidden = networks.opened(entry, tmp_path, 1)()(pixels)
    assert own[0] == pytest.approx([1.0, 0.4, 0.2], abs=1e-5) and hidden is None
    wide = replace(entry, pixel_range=("-1", "1"), vector=VectorOf(3))
    own, hidden = networks.opened(wide, tmp_path, 1)()(pixels)
    assert own[0] == pytest.approx([1.0, 0.0, 0.0], abs=1e-5), "below zero is cut off by the network itself"
    assert hidden == pytest.approx([1.0, -0.2, -0.6], abs=1e-5)


def test_what_cannot_be_opened_is_said_in_words(tmp_path):
    for name, words in (("net.keras", "model.export"), ("net.bin", "no file that OpenVINO opens")):
        entry = replace(ENTRY, files=(ModelFile(name, "", "", 0, ""),))
        with pytest.raises(ModelUnavailable, match=words):
            networks.read(entry, tmp_path)
    (tmp_path / "net.onnx").write_bytes(b"no network")
    with pytest.raises(ModelUnavailable, match="cannot open"):
        networks.read(replace(ENTRY, files=(ModelFile("net.onnx", "", "", 0, ""),)), tmp_path)


def test_a_layer_that_is_not_there_is_said(tmp_path):
    entry = replace(saved(tmp_path, planar=True), vector=VectorOf(3, layer="nowhere"))
    with pytest.raises(ModelUnavailable, match="nowhere"):
        networks.opened(entry, tmp_path, 1)


@pytest.mark.parametrize("shape", [(1, 1, 3), (300, 7, 3), (7, 300, 3)])
def test_any_picture_fits_the_square(shape):
    pixels = np.zeros(shape, np.uint8)
    assert networks.fitted(pixels, 64, whole=False).shape == (64, 64, 3)
    square = networks.fitted(pixels, 64, whole=True)
    assert square.shape == (64, 64, 3) and set(np.unique(square)) <= {0, networks.GREY}
