"""On which terms a bundle is made: for whom, for what, what it holds, who can open it."""

import re
from dataclasses import dataclass

import pyrage

from archive.errors import BadInput
from evidence.disclosure import DEFAULT, Disclosure
from evidence.models import Bundle

MOST_KEYS = 50
LEAST_VOLUME = 2**16  # bytes
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12} | {
    "ki": 2**10,
    "mi": 2**20,
    "gi": 2**30,
    "ti": 2**40,
}
_SIZE = re.compile(r"(\d{1,15})\s*([kmgt]i?)?b?", re.I)

Key = tuple[str, str]  # name of its holder, age recipient


@dataclass(frozen=True)
class Terms:
    """What a request states beside its items. Raises BadInput for what makes no sense."""

    disclosed: tuple[str, ...] = DEFAULT
    destination: str = Bundle.Destination.INTERNAL
    files: str = Bundle.Files.ORIGINALS
    pictures: bool = True  # in the report
    recipient: str = ""
    basis: str = ""
    approved_by: str = ""
    keys: tuple[Key, ...] = ()
    volume_size: int = 0  # bytes; 0: one volume
    override: str = ""  # why the sources' consent is overridden

    def __post_init__(self) -> None:
        object.__setattr__(self, "disclosed", Disclosure(self.disclosed).groups)
        object.__setattr__(self, "keys", tuple(self.keys))
        for value, allowed in ((self.destination, Bundle.Destination), (self.files, Bundle.Files)):
            if value not in allowed.values:
                raise BadInput(f"Unknown: {value}. Choose from {', '.join(allowed.values)}.")
        if self.destination != Bundle.Destination.INTERNAL and not (
            self.recipient.strip() and self.basis.strip()
        ):
            raise BadInput(
                "Say who gets this bundle, and under which mandate or legal basis: it goes into the register."
            )
        if len(self.keys) > MOST_KEYS:
            raise BadInput(f"At most {MOST_KEYS} keys; this has {len(self.keys)}.")
        if len({key for _, key in self.keys}) < len(self.keys):
            raise BadInput("A recipient's key is named twice. Name each once.")
        for _, key in self.keys:
            opened_by(key)
        if self.volume_size and self.volume_size < LEAST_VOLUME:
            raise BadInput(f"A volume holds at least {LEAST_VOLUME} bytes. Name a larger size.")


def opened_by(key: str) -> pyrage.x25519.Recipient:
    """The recipient of an age key (age1...). Raises BadInput."""
    try:
        return pyrage.x25519.Recipient.from_str(key)
    except pyrage.RecipientError as error:
        raise BadInput(
            f"“{key[:80]}” is not an age key. It begins with age1; its holder prints it with: age-keygen -y KEY-FILE"
        ) from error


def key_of(text: str) -> Key:
    """`NAME=age1...` as name and key. Raises BadInput."""
    name, _, key = (part.strip() for part in text.rpartition("="))
    if not name or len(name) > 200:
        raise BadInput(f"“{text[:80]}” does not say whose key it is. Write it as NAME=age1...")
    opened_by(key)
    return " ".join(name.split()), key


def size_of(text: str) -> int:
    """`4GiB`, `700 MB` or a number of bytes as bytes. Raises BadInput."""
    found = _SIZE.fullmatch(text.strip())
    if not found:
        raise BadInput(f"“{text[:80]}” is not a size. Write it as 4GiB, 700MB or a number of bytes.")
    return int(found[1]) * _UNITS[(found[2] or "").lower()]
