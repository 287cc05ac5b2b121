"""What a captioner says of itself: how a picture is brought to it, how its sentences begin and end, what its tokens spell.

A captioner is a folder as Hugging Face's optimum exports a vision-encoder-decoder, without a cache (docs/triage.md,
"Captions"). Its tokens are only ever read, so a vocabulary and two ways of spelling are all that is needed of its tokenizer.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ENCODER, DECODER = "encoder_model.onnx", "decoder_model.onnx"
TOKENS, LOOKS, SPEAKS = "tokenizer.json", "preprocessor_config.json", "generation_config.json"
FILES = (ENCODER, DECODER, TOKENS, LOOKS, SPEAKS)
MOST_TOKENS = 32  # of a sentence; one that has not ended by then is broken off
RESAMPLING = (0, 1, 2, 3, 4, 5)  # Pillow's ways of resizing, by which preprocessor_config.json names them
MOST_BYTES = 64 << 20


class NoCaptioner(ValueError):
    """These files are not those of a captioner that can run here; says why."""


@dataclass(frozen=True)
class Look:
    """How a picture is brought to the encoder: a square of `side` pixels that it is stretched to, (p x scale - mean) / deviation."""

    side: int
    resample: int
    scale: float
    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    @classmethod
    def of(cls, folder: Path) -> "Look":
        """As preprocessor_config.json says. Raises NoCaptioner."""
        said = _read(folder / LOOKS)
        size = said.get("size")
        sides = (size.get("height"), size.get("width")) if isinstance(size, dict) else (size, size)
        if not _is_whole(sides[0], 16, 1024) or sides[0] != sides[1]:
            raise NoCaptioner(
                f"{LOOKS}: size is no square of 16 to 1024 pixels that a picture is stretched to"
            )
        if (
            said.get("do_center_crop")
            or not said.get("do_resize", True)
            or said.get("resample", 2) not in RESAMPLING
        ):
            raise NoCaptioner(f"{LOOKS}: pictures are cut, not resized, or resized in an unknown way")
        scale = said.get("rescale_factor", 1 / 255) if said.get("do_rescale", True) else 1.0
        plain = not said.get("do_normalize", True)
        mean, deviation = ([0.0] * 3, [1.0] * 3) if plain else (said.get("image_mean"), said.get("image_std"))
        if not (
            _are_numbers([scale], 1)
            and _are_numbers(mean, 3)
            and _are_numbers(deviation, 3)
            and all(deviation)
        ):
            raise NoCaptioner(
                f"{LOOKS}: rescale_factor, image_mean and image_std are not the numbers they must be"
            )
        return cls(sides[0], said.get("resample", 2), scale, tuple(mean), tuple(deviation))


@dataclass(frozen=True)
class Speech:
    """With which token a sentence begins, and with which it may end."""

    start: int
    ends: tuple[int, ...]

    @classmethod
    def of(cls, folder: Path) -> "Speech":
        """As generation_config.json says. Raises NoCaptioner."""
        said = _read(folder / SPEAKS)
        start = said.get("decoder_start_token_id", said.get("bos_token_id"))
        ends = said.get("eos_token_id")
        ends = ends if isinstance(ends, list) else [ends]
        if not ends or not all(_is_whole(token, 0, 1 << 24) for token in [start, *ends]):
            raise NoCaptioner(
                f"{SPEAKS}: it must name decoder_start_token_id (or bos_token_id) and eos_token_id"
            )
        return cls(start, tuple(ends))


class Spelling:
    """What tokens spell: those of GPT-2's kind (byte level) and of BERT's (WordPiece)."""

    def __init__(self, folder: Path) -> None:
        """As tokenizer.json says. Raises NoCaptioner."""
        said = _read(folder / TOKENS)
        try:
            self.words = {int(token): str(word) for word, token in said["model"]["vocab"].items()}
            added = said.get("added_tokens") or []
            self.words |= {int(one["id"]): str(one["content"]) for one in added}
            self.silent = {int(one["id"]) for one in added if one["special"]}
            decoder = said["decoder"]
            self.kind = decoder["type"]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise NoCaptioner(
                f"{TOKENS}: it has no vocabulary and decoder as the tokenizers library writes them"
            ) from error
        if self.kind not in ("ByteLevel", "WordPiece"):
            raise NoCaptioner(
                f"{TOKENS}: tokens of the kind {self.kind!r} cannot be read here; ByteLevel and WordPiece can"
            )
        self.prefix, self.tidy = str(decoder.get("prefix", "##")), bool(decoder.get("cleanup", True))

    def read(self, tokens: Iterable[int]) -> str:
        """The words that they spell, without those that only begin, end or fill."""
        words = [self.words[token] for token in tokens if token in self.words and token not in self.silent]
        return (_bytes(words) if self.kind == "ByteLevel" else self._pieces(words)).strip()

    def _pieces(self, words: list[str]) -> str:
        parts = []
        for place, word in enumerate(words):
            goes_on = place and word.startswith(self.prefix)
            part = word.removeprefix(self.prefix) if goes_on else f" {word}" if place else word
            parts.append(_tidied(part) if self.tidy else part)
        return "".join(parts)


def check(folder: Path) -> Look:
    """How its pictures are brought to it, where every file of a captioner is there and says what it must. Raises NoCaptioner."""
    if missing := [name for name in FILES if not (folder / name).is_file()]:
        raise NoCaptioner(f"{folder} has no {', '.join(missing)}")
    Speech.of(folder)
    Spelling(folder)
    return Look.of(folder)


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise NoCaptioner(f"{path.name} is larger than 64 MiB")
        said = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, NoCaptioner):
            raise
        raise NoCaptioner(f"{path.name} cannot be read as JSON") from error
    if not isinstance(said, dict):
        raise NoCaptioner(f"{path.name} is no JSON object")
    return said


def _is_whole(value: object, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _are_numbers(values: object, count: int) -> bool:
    return (
        isinstance(values, list)
        and len(values) == count
        and all(
            isinstance(one, int | float) and not isinstance(one, bool) and abs(one) < 1e6 for one in values
        )
    )


@cache
def _byte_of() -> dict[str, int]:
    """GPT-2's way of writing bytes as signs: those that can be seen stand for themselves, the rest from U+0100 on."""
    seen = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    rest = [byte for byte in range(256) if byte not in seen]
    return {chr(byte): byte for byte in seen} | {chr(256 + place): byte for place, byte in enumerate(rest)}


def _bytes(words: list[str]) -> str:
    table = _byte_of()
    raw = bytearray()
    for sign in "".join(words):
        raw += bytes([table[sign]]) if sign in table else sign.encode()
    return raw.decode(errors="replace")


def _tidied(part: str) -> str:
    """English signs and short forms drawn to the word before, as the tokenizers library does it."""
    for apart, together in (
        *((f" {sign}", sign) for sign in ".?!,"),
        (" ' ", "'"),
        (" n't", "n't"),
        (" 'm", "'m"),
        (" do not", " don't"),
        (" 's", "'s"),
        (" 've", "'ve"),
        (" 're", "'re"),
    ):
        part = part.replace(apart, together)
    return part
