"""Our chunk by chunk reading and writing is C2SP chunked encryption, byte for byte."""

import base64
import hashlib
import json
import os
import zlib
from pathlib import Path

import pytest
from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given
from hypothesis import strategies as st

from archive.vault.cobblestone import CHUNK, HEADER, SEALED, Message, Unauthentic, layout, sealed_size

VECTORS = json.loads(
    (Path(__file__).parents[2] / "vectors" / "chunked-encryption" / "aes256.json").read_text()
)["vectors"]
EDGES = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 5 * CHUNK + 77]


class OfVectors(Message):
    """As in the published vectors, which are older than the choice of SHA-512 (see their README)."""

    derivation = SHA256()


def seal(data: bytes, *, key: bytes, salt: bytes, context: bytes, kind: type[Message] = Message) -> bytes:
    message = kind(key=key, salt=salt, context=context)
    out = bytearray(sealed_size(len(data)) - HEADER)
    count = message.seal_into(0, memoryview(data), memoryview(out), end=True)
    return message.header + out[:count]


def unseal(sealed: bytes, *, key: bytes, context: bytes, kind: type[Message] = Message) -> bytes:
    """In the order that a reader keeps: length, header, last chunk, then the rest."""
    size, last = layout(len(sealed))
    message = kind.of_header(sealed[:HEADER], key=key, context=context)
    out = bytearray(size + CHUNK)
    message.open_into(last, memoryview(sealed)[HEADER + last * SEALED :], memoryview(out))
    assert message.open_into(0, memoryview(sealed)[HEADER:], memoryview(out)) == size
    return bytes(out[:size])


def ciphertext(vector: dict) -> bytes:
    data = base64.b64decode(vector["ciphertext"] or "")
    return zlib.decompress(data) if vector.get("compressed") else data


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_published_vector(vector: dict):
    key, context, sealed = bytes.fromhex(vector["key"]), vector["context"].encode(), ciphertext(vector)
    if vector["expect"] == "failure":
        with pytest.raises((Unauthentic, ValueError)):
            unseal(sealed, key=key, context=context, kind=OfVectors)
        return
    data = unseal(sealed, key=key, context=context, kind=OfVectors)
    assert (len(data), hashlib.sha256(data).hexdigest()) == (
        vector["payload_length"],
        vector["payload_sha256"],
    )
    assert seal(data, key=key, salt=sealed[:24], context=context, kind=OfVectors) == sealed


@pytest.mark.parametrize("size", EDGES)
def test_the_library_reads_what_we_write_and_we_what_it_writes(size: int):
    data, key = os.urandom(size), os.urandom(32)
    theirs = Cobblestone256Decryptor(key, b"context")
    ours = seal(data, key=key, salt=os.urandom(24), context=b"context")
    assert theirs.update(ours) + theirs.finalize() == data
    encryptor = Cobblestone256Encryptor(key, b"context")
    assert unseal(encryptor.update(data) + encryptor.finalize(), key=key, context=b"context") == data


@given(st.integers(0, 2**38 * CHUNK - 1))
def test_length_of_a_message_tells_what_it_holds(size: int):
    assert layout(sealed_size(size)) == (size, size // CHUNK)


@pytest.mark.parametrize("total", [0, 55, 56, 71, HEADER + SEALED, HEADER + SEALED + 15, HEADER + 2 * SEALED])
def test_length_that_no_whole_message_has_is_refused(total: int):
    with pytest.raises(Unauthentic):
        layout(total)


def test_a_short_chunk_ends_a_message_and_nothing_else_does():
    message = Message(key=bytes(32), salt=bytes(24), context=b"")
    with pytest.raises(ValueError, match="only the end"):
        message.seal_into(0, memoryview(b"short"), memoryview(bytearray(SEALED)), end=False)
    with pytest.raises(ValueError, match="at most"):
        message.seal_into(2**38, memoryview(b""), memoryview(bytearray(SEALED)), end=True)
