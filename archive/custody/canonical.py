"""The bytes of an event: canonical JSON, salted commitments, hashes. docs/custody-log.md says the same in words."""

import hashlib
import json
import re
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson

MAX_EVENT_BYTES = 65_535
ZERO_HASH = "0" * 64
_LIMIT = 2**53


def canonical(value: Any) -> bytes:
    """Return the RFC 8785 form of a JSON value.

    Narrower than the RFC, so that every reader agrees: no floats, integers within 2^53, ASCII keys only.

    Raises ValueError on anything else, TypeError on what JSON does not know.
    """
    _require_plain(value)
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:  # lone surrogates (a ValueError below), subclasses, great depth
        return _ENCODER.encode(value).encode()


# Says the same bytes, slowly, of all that _require_plain lets pass.
_ENCODER = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _require_plain(value: Any) -> None:
    kind = type(value)
    if kind is str or value is None or kind is bool:  # most of an event
        return
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str) or not key.isascii():
                raise ValueError(f"A key in an event must be ASCII text, not {key!r}")
            if type(inner) is not str:
                _require_plain(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            _require_plain(inner)
    elif isinstance(value, float):
        raise ValueError("An event holds no floating-point numbers: write them as text")
    elif isinstance(value, int):
        if not -_LIMIT < value < _LIMIT:
            raise ValueError("An integer in an event lies within 2^53: write larger ones as text")
    elif not isinstance(value, str):  # which orjson might write in a way of its own
        raise TypeError(f"An event cannot hold a {kind.__name__}")


# A fraction or an exponent after a key, or in a list; also some texts, which costs time only.
_ODD_VALUE, _ODD_ELEMENT = re.compile(rb'":[-0-9]+[.eE]'), re.compile(rb"[,\[][-0-9]+[.eE]")
_loads, _dumps = orjson.loads, orjson.dumps  # found once: this is called millions of times
_EXACT = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER


def canonical_document(body: bytes) -> Any:
    """Read the canonical bytes of a JSON value. Raises ValueError (RecursionError) when they are not canonical.

    The ASCII bytes of an object without fractions and exponents, which orjson reads and writes back unchanged with
    integers within 2^53, are canonical; all others are judged by `canonical`.
    """
    if body[:1] == b"{" and body.isascii():
        if not _ODD_VALUE.search(body) and (b"[" not in body or not _ODD_ELEMENT.search(body)):
            try:
                document = _loads(body)
                if _dumps(document, None, _EXACT) == body:
                    return document
            except (orjson.JSONDecodeError, orjson.JSONEncodeError):
                pass
    document = json.loads(body)
    if canonical(document) != body:
        raise ValueError("form")
    return document


def event_hash(event: bytes) -> bytes:
    """Hash one canonical event: SHA-256(0x00 || event), which is also its RFC 6962 leaf hash."""
    return hashlib.sha256(b"\x00" + event).digest()


def commitment(salt: str, pointer: str, value: Any) -> str:
    """Commit to a value at a place (RFC 6901 pointer) of an event: SHA-256 over canonical [salt, pointer, value]."""
    return hashlib.sha256(canonical([salt, pointer, value])).hexdigest()


def timestamp(moment: datetime) -> str:
    """Write a moment as the log does: UTC, microseconds, Z."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def plain(value: Any) -> Any:
    """Turn a model's field value into what an event can hold (text, integers, lists, objects)."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", str(value))
    if isinstance(value, datetime):
        return timestamp(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, Decimal):
        return format(value.normalize(), "f")
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, bytes | memoryview):
        return bytes(value).hex()
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    raise TypeError(f"An event cannot hold a {type(value).__name__}")
