"""Bounds for what strangers wrote: numbers that are numbers, texts that can be shown, trees that end."""

from __future__ import annotations

import math
import unicodedata
from typing import Any

TEXT, KEYS, DEPTH, TOTAL = (
    2000,
    600,
    6,
    96 * 1024,
)  # characters, entries of one object, levels, characters in all


def text(value: object, limit: int = TEXT) -> str:
    """Printable text of at most `limit` characters. Control characters and lone surrogates go; directions of writing
    stay, closed at the end so that they turn nothing that follows."""
    if not isinstance(value, str):
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return ""
        if abs(value) > 10**30:
            return ""
        value = str(value)
    kept = []
    for letter in value[: limit * 2]:
        if letter in "\n\t\r":
            letter = " "
        if unicodedata.category(letter) in ("Cc", "Cs"):
            continue
        kept.append(letter)
    result = "".join(kept).strip()
    cut = result if len(result) <= limit else result[: limit - 1] + "…"
    open_marks = sum(mark in cut for mark in "\u202a\u202b\u202d\u202e\u2066\u2067\u2068")
    if open_marks and len(cut) + 2 <= limit:
        cut += "\u202c\u2069"
    return cut


def whole(value: object, limit: int) -> int | None:
    """A whole number from 0 to `limit`, also when written as text."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)
    if isinstance(value, float) and math.isfinite(value) and value == int(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= limit else None


def number(value: object, low: float, high: float) -> float | None:
    """A finite number between two bounds, also when written as text."""
    if isinstance(value, str) and len(value) < 40:
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and low <= value <= high else None


def mapping(value: object) -> dict[str, Any]:
    """The value if it is an object; else an empty one."""
    return value if isinstance(value, dict) else {}


def listed(value: object) -> list[Any]:
    """The value if it is a list, of at most 100 entries; else an empty one."""
    return value[:100] if isinstance(value, list) else []


def tree(value: object) -> dict[str, Any]:
    """A JSON object within bounds: what is too long is cut, what is too much is left out and counted."""
    left = [TOTAL]
    result = _tree(value, DEPTH, left) if isinstance(value, dict) else {}
    return result if isinstance(result, dict) else {}


def _tree(value: object, depth: int, left: list[int]) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**53 else text(str(value), 60)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        shown = text(value)
        left[0] -= len(shown)
        return shown
    if depth == 0:
        return None
    if isinstance(value, list):
        return [_tree(entry, depth - 1, left) for entry in value[:200] if left[0] > 0]
    if not isinstance(value, dict):
        return None
    result: dict[str, Any] = {}
    for number_of, (key, entry) in enumerate(value.items()):
        if number_of >= KEYS or left[0] <= 0:
            result["(left out)"] = len(value) - number_of
            break
        name = text(key, 120)
        left[0] -= len(name)
        if isinstance(entry, str) and entry.startswith("(Binary data "):
            continue
        result[name] = _tree(entry, depth - 1, left)
    return result
