"""C2SP chunked encryption (https://c2sp.org/chunked-encryption) as Cobblestone-256, chunk by chunk.

HKDF-Expand with SHA-512 and AES-256-GCM. `cryptography.cobblestone` reads and writes the same bytes from
front to back; this module also opens one chunk in the middle, which seeking in a video needs. docs/vault.md
says the bytes.

    message = salt (24) || commitment (32) || chunk 0 || chunk 1 || ... || last chunk
    chunk   = AES-256-GCM(chunk key, base nonce XOR number, up to 16,384 bytes)  = bytes + 16
    All chunks but the last hold exactly 16,384 bytes, the last holds fewer (often some, possibly none).
"""

from hmac import compare_digest

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

KEY, SALT, COMMITMENT, NONCE, TAG = 32, 24, 32, 12, 16
CHUNK = 16 * 1024
SEALED = CHUNK + TAG
HEADER = SALT + COMMITMENT
MAX_CHUNKS = 2**38
_PREFIX = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\x00"


class Unauthentic(Exception):
    """These bytes were not written under this key, salt and context, or not in this place."""


def sealed_size(size: int) -> int:
    """Length in bytes of the message that holds `size` bytes."""
    return HEADER + size + (size // CHUNK + 1) * TAG


def layout(total: int) -> tuple[int, int]:
    """Length of a message -> (bytes it holds, number of its last chunk). Raises Unauthentic."""
    last, rest = divmod(total - HEADER, SEALED)
    if total < HEADER + TAG or rest < TAG or last >= MAX_CHUNKS:
        raise Unauthentic("its length is one that no whole message has")
    return last * CHUNK + rest - TAG, last


class Message:
    """The keys of one message; seals and opens its chunks by number."""

    derivation = SHA512()  # the specification leaves the hash open; Cobblestone names this one

    def __init__(self, *, key: bytes, salt: bytes, context: bytes) -> None:
        if len(key) != KEY or len(salt) != SALT:
            raise ValueError(f"a key has {KEY} bytes and a salt {SALT}, not {len(key)} and {len(salt)}")
        derived = HKDFExpand(self.derivation, KEY + NONCE + COMMITMENT, _PREFIX + salt + context).derive(key)
        self._aead = AESGCM(derived[:KEY])
        self._nonce = int.from_bytes(derived[KEY : KEY + NONCE])
        self.header = salt + derived[KEY + NONCE :]

    @classmethod
    def of_header(cls, header: bytes, *, key: bytes, context: bytes) -> "Message":
        """The message that starts with these 56 bytes. Raises Unauthentic where the commitment differs."""
        message = cls(key=key, salt=header[:SALT], context=context)
        if not compare_digest(message.header, header):
            raise Unauthentic("its first 56 bytes do not belong to its key")
        return message

    def seal_into(self, first: int, data: memoryview, out: memoryview, *, end: bool) -> int:
        """Seal `data` as chunks `first`, `first + 1`...; return the bytes written to `out`.

        With `end` the message ends here, by a short chunk; without, `data` must be whole chunks.
        """
        whole, rest = divmod(len(data), CHUNK)
        if rest and not end:
            raise ValueError("only the end of a message may be a short chunk")
        if first + whole >= MAX_CHUNKS:
            raise ValueError("a message holds at most 2**38 chunks")
        count = whole + end
        for i in range(count):
            piece = data[i * CHUNK : (i + 1) * CHUNK]
            at = i * SEALED
            self._aead.encrypt_into(self._number(first + i), piece, None, out[at : at + len(piece) + TAG])
        return len(data) + count * TAG

    def open_into(self, first: int, sealed: memoryview, out: memoryview) -> int:
        """Open chunks that lie one after the other; return the bytes written to `out`. Raises Unauthentic."""
        done = 0
        for i, at in enumerate(range(0, len(sealed), SEALED)):
            piece = sealed[at : at + SEALED]
            size = len(piece) - TAG
            try:
                self._aead.decrypt_into(self._number(first + i), piece, None, out[done : done + size])
            except InvalidTag:
                raise Unauthentic(f"its bytes from {(first + i) * CHUNK} on were altered") from None
            done += size
        return done

    def _number(self, chunk: int) -> bytes:
        return (self._nonce ^ chunk).to_bytes(NONCE)
