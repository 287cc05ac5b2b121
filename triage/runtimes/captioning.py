"""A captioner in OpenVINO: an encoder once for a picture, a decoder once for each token. Runs in the model process only.

Greedy: the likeliest token after the other, at most MOST_TOKENS. The decoder has no cache and a fixed length: what stands
behind the newest token is filled up, and a causal network does not look there. Calculated in 32 bits on every processor, since
one token that falls out otherwise changes all that follow.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archive.errors import ModelUnavailable
from triage.captions import DECODER, ENCODER, MOST_TOKENS, Look, NoCaptioner, Speech
from triage.registry import ModelEntry
from triage.runtimes import networks

# Pictures (8-bit BGR) in; out comes a row for each token: its number, and the chance that it was given
Session = Callable[[NDArray[np.uint8]], NDArray[np.float64]]
SEEN, MASKS = "encoder_hidden_states", ("attention_mask", "encoder_attention_mask")


def opened(entry: ModelEntry, copy: Path, lanes: int) -> Callable[[], Session]:
    """A registered captioner; each call gives a lane a session of its own. Raises ModelUnavailable."""
    try:
        look, speech = Look.of(copy), Speech.of(copy)
        encoder = _encoder(copy, look)
        decoder = _decoder(copy, encoder)
    except (NoCaptioner, RuntimeError) as error:
        said = str(error).splitlines()[0][:200]
        raise ModelUnavailable(f"{entry.name} is no captioner that can be opened here ({said}).") from error
    seeing, speaking = (networks.compiled(one, lanes, exact=True) for one in (encoder, decoder))

    def session() -> Session:
        looks, speaks = seeing.create_infer_request(), speaking.create_infer_request()
        fed = {port.get_any_name(): port for port in speaking.inputs}

        def run(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
            looks.infer({0: prepared(pixels, look)})
            tokens = np.full((1, MOST_TOKENS), speech.ends[0], np.int64)
            before = np.zeros((1, MOST_TOKENS), np.int64)
            seen = looks.get_output_tensor(0).data
            given: dict[str, Any] = {"input_ids": tokens, "attention_mask": before, SEEN: seen}
            given["encoder_attention_mask"] = np.ones(seen.shape[:2], np.int64)
            told: list[tuple[int, float]] = []
            token = speech.start
            while len(told) < MOST_TOKENS and not (told and token in speech.ends):
                tokens[0, len(told)], before[0, len(told)] = token, 1
                speaks.infer(
                    {port: given[name].astype(port.element_type.to_dtype()) for name, port in fed.items()}
                )
                likely = speaks.get_output_tensor(0).data[0, len(told)].astype(np.float64)
                token = int(likely.argmax())
                told.append((token, float(1 / np.exp(likely - likely[token]).sum())))
            return np.array(told, np.float64)

        return run

    return session


def prepared(pixels: NDArray[np.uint8], look: Look) -> NDArray[np.float32]:
    """A picture as the encoder was trained to see it: resized by Pillow, as the library that trained it does."""
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(pixels[:, :, ::-1]))
    small = np.asarray(picture.resize((look.side, look.side), look.resample), np.float32)
    colours = (small * np.float32(look.scale) - np.array(look.mean, np.float32)) / np.array(
        look.deviation, np.float32
    )
    return np.ascontiguousarray(colours.transpose(2, 0, 1)[None])


def _encoder(copy: Path, look: Look) -> Any:
    """The network that looks, for one picture at a time."""
    network = _read(copy / ENCODER)
    if len(network.inputs) != 1:
        raise NoCaptioner(f"{ENCODER} takes more than a picture")
    network.reshape([1, 3, look.side, look.side])
    return network


def _decoder(copy: Path, encoder: Any) -> Any:
    """The network that speaks, for one sentence of the greatest length; of what it gives the logits alone."""
    import openvino

    network = _read(copy / DECODER)
    names = {port.get_any_name() for port in network.inputs}
    if not {"input_ids", SEEN} <= names <= {"input_ids", SEEN, *MASKS}:
        raise NoCaptioner(
            f"{DECODER} takes {', '.join(sorted(names))}; it must be the decoder without past and cache"
        )
    logits = [port for port in network.outputs if "logits" in port.get_names()]
    if not logits:
        raise NoCaptioner(f"{DECODER} gives no logits")
    seen = list(encoder.output(0).shape)
    shapes = {"input_ids": [1, MOST_TOKENS], "attention_mask": [1, MOST_TOKENS], SEEN: seen}
    shapes["encoder_attention_mask"] = seen[:2]
    network.reshape({port: shapes[port.get_any_name()] for port in network.inputs})
    source = logits[0].get_node().input_value(0)
    return openvino.Model([source], network.get_parameters())


def _read(path: Path) -> Any:
    import openvino

    return openvino.Core().read_model(path)
