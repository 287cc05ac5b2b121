"""Checkpoints (C2SP signed-note, tlog-checkpoint) and keys, as a witness needs them."""

import base64
import hashlib
import re
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey

ED25519, COSIGNATURE, ML_DSA_44 = 0x01, 0x04, 0x06
KEY_BYTES = {ED25519: 32, COSIGNATURE: 32, ML_DSA_44: 1312}
MAX_SIGNATURES = 64
SIZE = r"(?:0|[1-9][0-9]{0,18})"
_LINE = re.compile("\N{EM DASH} ([^\\s+]+) (\\S+)")


class Malformed(ValueError):
    """Not in the form that the specification gives."""


@dataclass(frozen=True)
class Checkpoint:
    """An unverified checkpoint. `text` is what was signed."""

    origin: str
    size: int
    root: bytes
    text: bytes
    signatures: tuple[tuple[str, bytes, bytes], ...]


def parse(raw: bytes) -> Checkpoint:
    """Read a checkpoint. Raises Malformed."""
    try:
        note = raw.decode()
    except UnicodeDecodeError:
        raise Malformed("the checkpoint is not UTF-8") from None
    if re.search(r"[\x00-\x09\x0b-\x1f]", note):
        raise Malformed("the checkpoint holds control characters")
    text, separator, tail = note.rpartition("\n\n")
    lines = text.split("\n")
    if not separator or not tail.endswith("\n") or len(lines) < 3 or "" in lines:
        raise Malformed("the checkpoint is not a signed note of three lines or more")
    if not re.fullmatch(SIZE, lines[1], re.A) or int(lines[1]) >= 2**63:
        raise Malformed("the checkpoint's size is not a number")
    signed = tail[:-1].split("\n")
    if len(signed) > MAX_SIGNATURES:
        raise Malformed(f"the checkpoint has more than {MAX_SIGNATURES} signatures")
    signatures = tuple(map(_signature, signed))
    return Checkpoint(lines[0], int(lines[1]), digest(lines[2]), text.encode() + b"\n", signatures)


def _signature(line: str) -> tuple[str, bytes, bytes]:
    found = _LINE.fullmatch(line)
    if not found:
        raise Malformed("a signature line is not in the form")
    try:
        blob = base64.b64decode(
            found[2], validate=True
        )  # of any spelling: a wrong signature is no wrong form
    except ValueError:
        raise Malformed("base64 is wrong") from None
    if len(blob) < 5:
        raise Malformed("a signature is too short")
    return found[1], blob[:4], blob[4:]


def decode(text: str) -> bytes:
    """Standard base64 in its one spelling. Raises Malformed."""
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        raw = b""
    if base64.b64encode(raw).decode() != text:
        raise Malformed("base64 is wrong")
    return raw


def digest(text: str) -> bytes:
    """A SHA-256 hash in base64. Raises Malformed."""
    raw = decode(text)
    if len(raw) != 32:
        raise Malformed("a hash does not have 32 bytes")
    return raw


@dataclass(frozen=True)
class Key:
    """A public key with its name; as text a C2SP verifier key."""

    name: str
    type: int
    public: bytes

    @classmethod
    def parse(cls, text: str) -> "Key":
        """Read name+id+base64. Raises Malformed."""
        name, _, rest = text.partition("+")
        identity, _, encoded = rest.partition("+")
        raw = decode(encoded)
        if not name or re.search(r"\s", name) or not raw or len(raw) - 1 != KEY_BYTES.get(raw[0]):
            raise Malformed("this is not a verifier key of a known type")
        key = cls(name, raw[0], raw[1:])
        if key.id.hex() != identity:
            raise Malformed(f"the key of {name} has another id than it says")
        return key

    @property
    def id(self) -> bytes:
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.type]) + self.public).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(bytes([self.type]) + self.public).decode()}"

    def line(self, signature: bytes) -> str:
        """A signature line of a note."""
        return f"\N{EM DASH} {self.name} {base64.b64encode(self.id + signature).decode()}\n"

    def verify(self, checkpoint: Checkpoint) -> bool:
        """Whether this key signed; False without a line of it. Raises InvalidSignature where a line does not hold."""
        mine = [blob for name, its, blob in checkpoint.signatures if (name, its) == (self.name, self.id)]
        for blob in mine:
            try:
                if self.type == ED25519:
                    Ed25519PublicKey.from_public_bytes(self.public).verify(blob, checkpoint.text)
                    continue
                said = statement(self, int.from_bytes(blob[:8], "big"), checkpoint)
                if self.type == COSIGNATURE:
                    Ed25519PublicKey.from_public_bytes(self.public).verify(blob[8:], said)
                else:
                    MLDSA44PublicKey.from_public_bytes(self.public).verify(blob[8:], said)
            except ValueError:  # a key that is none, a name that is too long
                raise InvalidSignature from None
        return bool(mine)


def statement(key: Key, moment: int, checkpoint: Checkpoint) -> bytes:
    """What a cosignature signs (C2SP tlog-cosignature). `moment` is in seconds since 1970."""
    if key.type == COSIGNATURE:
        return b"cosignature/v1\ntime %d\n" % moment + checkpoint.text
    name, origin = key.name.encode(), checkpoint.origin.encode()
    if len(name) > 255 or len(origin) > 255:
        raise Malformed("names have at most 255 bytes in an ML-DSA-44 cosignature")
    numbers = (0).to_bytes(8, "big") + checkpoint.size.to_bytes(8, "big")
    named = bytes([len(name)]) + name + moment.to_bytes(8, "big") + bytes([len(origin)]) + origin
    return b"subtree/v1\n\x00" + named + numbers + checkpoint.root


PrivateKey = Ed25519PrivateKey | MLDSA44PrivateKey


def public_key(name: str, private: PrivateKey) -> Key:
    """The key that verifies this private key's cosignatures."""
    kind = COSIGNATURE if isinstance(private, Ed25519PrivateKey) else ML_DSA_44
    return Key(name, kind, private.public_key().public_bytes_raw())


def cosign(name: str, private: PrivateKey, checkpoint: Checkpoint, moment: int) -> str:
    """One cosignature line over a whole tree."""
    key = public_key(name, private)
    return key.line(moment.to_bytes(8, "big") + private.sign(statement(key, moment, checkpoint)))
