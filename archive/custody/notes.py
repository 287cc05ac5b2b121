"""C2SP signed notes: parsing them, and the public keys that verify them. docs/custody-log.md says the bytes.

A verifier key ("vkey") is text: <name>+<key id, hex>+<base64(type || public key)>. Three types are known:
0x01 Ed25519 over the note's text, 0x04 Ed25519 and 0x06 ML-DSA-44 over a statement that also bears a time.
"""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

from archive.errors import BadInput

ED25519, COSIGNATURE, ML_DSA_44 = 0x01, 0x04, 0x06
KEY_BYTES = {ED25519: 32, COSIGNATURE: 32, ML_DSA_44: 1312}
SIGNATURE_BYTES = {ED25519: 64, COSIGNATURE: 8 + 64, ML_DSA_44: 8 + 2420}
MAX_NOTE_BYTES = 1_048_576
MAX_SIGNATURES = 256
MAX_NAME_BYTES = 180
_SIGNATURE = re.compile("\N{EM DASH} ([^\\s+]+) ([A-Za-z0-9+/]+={0,2})")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")


class NotSigned(BadInput):
    """No line of this key is on the note."""


class WrongSignature(BadInput):
    """A line bears this key's name and id, but is not its signature over the note."""


@dataclass(frozen=True)
class Parsed:
    """What a checkpoint says, and the exact text that was signed."""

    origin: str
    size: int
    root: bytes
    text: bytes
    signatures: tuple[tuple[str, bytes, bytes], ...]  # name, key id, signature


def parse_note(note: str) -> Parsed:
    """Read a checkpoint without trusting it. Raises BadInput when it is not in the form.

    At most 1 MiB and 256 signature lines. Signatures are not checked here, nor need their keys be known.
    """
    text, separator, tail = note.rpartition("\n\n")
    lines = text.split("\n")
    try:
        if len(note.encode()) > MAX_NOTE_BYTES or _CONTROL.search(note):
            raise ValueError("length or control characters")
        if not separator or len(lines) < 3 or "" in lines or not tail.endswith("\n"):
            raise ValueError("form")
        written = tail[:-1].split("\n")
        if len(written) > MAX_SIGNATURES:
            raise ValueError("number of signatures")
        root = decode(lines[2])
        if len(root) != 32 or not re.fullmatch(r"0|[1-9][0-9]{0,18}", lines[1]):
            raise ValueError("size or root")
        signatures = tuple(_signature(line) for line in written)
        return Parsed(lines[0], int(lines[1]), root, text.encode() + b"\n", signatures)
    except ValueError as error:
        raise BadInput("This is not a signed checkpoint: give the file exactly as it was written.") from error


def _signature(line: str) -> tuple[str, bytes, bytes]:
    found = _SIGNATURE.fullmatch(line)
    blob = base64.b64decode(found[2], validate=True) if found else b""  # as other readers: of any spelling
    if not found or len(blob) < 5:
        raise ValueError("signature line")
    return found[1], blob[:4], blob[4:]


def signature_line(name: str, identity: bytes, signature: bytes) -> str:
    """One line of a signed note, with its line feed."""
    return f"\N{EM DASH} {name} {base64.b64encode(identity + signature).decode()}\n"


def decode(text: str) -> bytes:
    """Standard base64 in its one possible spelling. Raises ValueError."""
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("base64") from error
    if base64.b64encode(raw).decode() != text:
        raise ValueError("base64 of another spelling")
    return raw


def cosigned_text(text: bytes, moment: int) -> bytes:
    """What a type 0x04 key signs: a header, the time in seconds since 1970, and the note's text."""
    return b"cosignature/v1\ntime %d\n" % moment + text


def subtree_statement(name: str, moment: int, parsed: Parsed) -> bytes:
    """What a type 0x06 key signs: its own name, the time, the log's origin, and the whole tree's size and root."""
    cosigner, origin = name.encode(), parsed.origin.encode()
    if not 0 < len(cosigner) < 256 or not 0 < len(origin) < 256:
        raise BadInput("An ML-DSA-44 signature names its signer and the log in at most 255 bytes each.")
    numbers = b"".join(n.to_bytes(8, "big") for n in (0, parsed.size))
    return (
        b"subtree/v1\n\x00"
        + bytes([len(cosigner)])
        + cosigner
        + moment.to_bytes(8, "big")
        + bytes([len(origin)])
        + origin
        + numbers
        + parsed.root
    )


@dataclass(frozen=True)
class VerifierKey:
    """A public key with the name that it signs under. Two keys are the same key when all three parts agree."""

    name: str
    type: int
    public: bytes

    @classmethod
    def parse(cls, text: str) -> "VerifierKey":
        """Read a vkey of one of the three types. Raises BadInput that says which part is wrong."""
        parts = text.split("+", 2)
        if len(parts) != 3:
            raise BadInput("A key is written as name+id+key.")
        name, identity, encoded = parts
        if not name or re.search(r"\s", name) or len(name.encode()) > MAX_NAME_BYTES:
            raise BadInput(f"A key's name has 1 to {MAX_NAME_BYTES} bytes and no spaces.")
        try:
            raw = decode(encoded)
        except ValueError as error:
            raise BadInput(f"The key of {name} is not base64.") from error
        if not raw or raw[0] not in KEY_BYTES:
            raise BadInput(f"The key of {name} is of an unknown type: Ed25519 and ML-DSA-44 are known.")
        if len(raw) - 1 != KEY_BYTES[raw[0]]:
            raise BadInput(f"The key of {name} has {len(raw) - 1} bytes, not {KEY_BYTES[raw[0]]}.")
        key = cls(name, raw[0], raw[1:])
        if key.id.hex() != identity:
            raise BadInput(f"The key of {name} has the id {key.id.hex()}, not {identity}.")
        return key

    @property
    def id(self) -> bytes:
        """SHA-256(name || 0x0A || type || public key)[:4]."""
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.type]) + self.public).digest()[:4]

    @property
    def label(self) -> str:
        """The name and id, which together stand on signature lines."""
        return f"{self.name}+{self.id.hex()}"

    def __str__(self) -> str:
        return f"{self.label}+{base64.b64encode(bytes([self.type]) + self.public).decode()}"

    def line(self, signature: bytes) -> str:
        """This key's signature as a line of a note."""
        return signature_line(self.name, self.id, signature)

    def verify(self, parsed: Parsed) -> int:
        """Check this key's line on a note; return the time that it states (seconds since 1970; 0 for type 0x01).

        Where the key signed more than once, all must hold and the latest time counts.
        Raises NotSigned without a line of this key, WrongSignature when one does not hold.
        """
        identity = self.id
        mine = [blob for name, its, blob in parsed.signatures if name == self.name and its == identity]
        if not mine:
            raise NotSigned(f"{self.name} has not signed this checkpoint.")
        return max(self._one(parsed, blob) for blob in mine)

    def _one(self, parsed: Parsed, blob: bytes) -> int:
        moment = 0
        try:
            if len(blob) != SIGNATURE_BYTES[self.type]:
                raise InvalidSignature
            if self.type == ED25519:
                self.verify_raw(blob, parsed.text)
                return moment
            moment = int.from_bytes(blob[:8], "big")
            if not 0 < moment < 2**63:
                raise InvalidSignature
            stated = (
                cosigned_text(parsed.text, moment)
                if self.type == COSIGNATURE
                else subtree_statement(self.name, moment, parsed)
            )
            self.verify_raw(blob[8:], stated)
        except InvalidSignature:
            raise WrongSignature(f"The signature in the name of {self.name} is not its own.") from None
        return moment

    def verify_raw(self, signature: bytes, message: bytes) -> None:
        """Check a bare signature. Raises cryptography's InvalidSignature, also for a key that is no point."""
        try:
            if self.type == ML_DSA_44:
                MLDSA44PublicKey.from_public_bytes(self.public).verify(signature, message)
            else:
                Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except ValueError:
            raise InvalidSignature from None
