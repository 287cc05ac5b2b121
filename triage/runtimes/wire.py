"""Frames between our process and the model process: a JSON head and a body of bytes, both bounded.

4 bytes  length of the head, big-endian
8 bytes  length of the body
head     UTF-8 JSON object
body     bytes
"""

import json
import struct
from typing import IO, Any

_LENGTHS = struct.Struct(">IQ")
MIB = 1 << 20
HEAD_LIMIT = 16 * MIB
BODY_LIMIT = 512 * MIB
RESULT_LIMIT = 16 * MIB  # the vectors of one item


class WireError(Exception):
    """The other end closed the pipe, or sent what is no frame."""


def send(stream: IO[bytes], head: dict[str, Any], body: bytes | memoryview = b"") -> None:
    """Write one frame and flush it. Raises OSError when the other end is gone."""
    text = json.dumps(head, separators=(",", ":")).encode()
    stream.write(_LENGTHS.pack(len(text), len(body)) + text)
    if len(body):
        stream.write(body)
    stream.flush()


def receive(
    stream: IO[bytes], *, head_limit: int = HEAD_LIMIT, body_limit: int = BODY_LIMIT
) -> tuple[dict[str, Any], bytes]:
    """Read one frame. Raises WireError at the end of the stream and for anything that is no frame in bounds."""
    head_size, body_size = _LENGTHS.unpack(_exactly(stream, _LENGTHS.size))
    if head_size > head_limit or body_size > body_limit:
        raise WireError("a frame is over its limit")
    try:
        head = json.loads(_exactly(stream, head_size))
    except (ValueError, RecursionError) as error:
        raise WireError("a frame's head is not JSON") from error
    if not isinstance(head, dict):
        raise WireError("a frame's head is not an object")
    return head, _exactly(stream, body_size)


def _exactly(stream: IO[bytes], size: int) -> bytes:
    if not size:
        return b""
    data = stream.read(size)
    if data is None or len(data) != size:
        raise WireError("the pipe is closed")
    return data
