"""C2SP tlog-policy files: which logs and witnesses are known, and which of them must have cosigned a checkpoint.

One thing is added, in a comment that other readers skip: `# greatest-age SECONDS`, how old a cosignature may be.
"""

import enum
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from archive.custody.notes import (
    COSIGNATURE,
    ED25519,
    ML_DSA_44,
    NotSigned,
    Parsed,
    VerifierKey,
    WrongSignature,
    parse_note,
)
from archive.errors import BadInput

LOG_TYPES, WITNESS_TYPES = (ED25519, ML_DSA_44), (COSIGNATURE, ML_DSA_44)
MAX_BYTES = 1_048_576
MAX_OF_EACH = 256  # logs, witnesses, groups
SKEW_S = 60  # clocks differ: a cosignature may be that far in the future
_ALLOWED = re.compile(rb"[\x09\x20-\x7e\x80-\xff]*")
_AGE = re.compile(rb"#[ \t]*greatest-age(.*)")
_COUNT = re.compile(rb"[1-9][0-9]{0,5}")


class BadPolicy(BadInput):
    """A line of a policy file is not as the specification wants it; the sentence names the line."""


@dataclass(frozen=True)
class Log:
    """A log that is known. `url` is empty when the file names none."""

    key: VerifierKey
    url: str


@dataclass(frozen=True)
class Witness:
    """A witness that is known. `name` is used inside of the file only."""

    name: str
    key: VerifierKey
    url: str


@dataclass(frozen=True)
class Group:
    """At least `threshold` of the members (names of witnesses and groups) must have witnessed."""

    name: str
    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True)
class Policy:
    """A whole policy. `quorum` is empty for `none`; `greatest_age` is in seconds, None without a limit."""

    logs: tuple[Log, ...]
    witnesses: tuple[Witness, ...]
    groups: tuple[Group, ...]
    quorum: str
    greatest_age: int | None = None


class Standing(enum.StrEnum):
    """How a witness stands to a checkpoint."""

    COSIGNED = "cosigned"
    MISSING = "missing"
    WRONG = "wrong"
    OLD = "too old"
    FUTURE = "from the future"


@dataclass(frozen=True)
class Verdict:
    """What a policy says of a checkpoint at a moment. `reasons` are sentences, empty when it is satisfied."""

    satisfied: bool
    signed_by: tuple[str, ...]
    """Labels of the policy's logs whose signature holds."""
    witnesses: dict[str, Standing]
    times: dict[str, datetime] = field(default_factory=dict)
    """When each witness says that it cosigned, where its signature holds."""
    reasons: tuple[str, ...] = ()

    @property
    def cosigned(self) -> tuple[str, ...]:
        """The witnesses that count."""
        return tuple(name for name, standing in self.witnesses.items() if standing is Standing.COSIGNED)


# --- reading ----------------------------------------------------------------------------------------------------


def read_policy(path: Path) -> Policy:
    """Read a policy file. Raises BadPolicy, or BadInput where it cannot be read."""
    try:
        with path.open("rb") as file:
            return parse_policy(file.read(MAX_BYTES + 1))
    except OSError as error:
        raise BadInput(f"The policy file cannot be read ({error.strerror}): {path}") from error


def parse_policy(raw: bytes) -> Policy:
    """Read a policy. Raises BadPolicy that names the first line at fault."""
    if len(raw) > MAX_BYTES:
        raise BadPolicy(f"A policy has at most {MAX_BYTES:,} bytes.")
    reader = _Reader()
    try:
        for line in _lines(raw):
            reader.line(line)
        reader.end()
    except BadInput as error:
        raise BadPolicy(f"Line {reader.number} of the policy: {error.sentence}") from error
    return Policy(
        tuple(reader.logs), tuple(reader.witnesses), tuple(reader.groups), reader.quorum or "", reader.age
    )


def _lines(raw: bytes) -> Iterator[bytes]:
    *whole, rest = raw.split(b"\n")
    yield from whole
    if rest:
        yield rest + b"\n"  # refused by its content: a line ends with a line feed


class _Reader:
    def __init__(self) -> None:
        self.number = 0
        self.logs: list[Log] = []
        self.witnesses: list[Witness] = []
        self.groups: list[Group] = []
        self.names: set[bytes] = set()
        self.members: set[bytes] = set()
        self.quorum: str | None = None
        self.age: int | None = None

    def line(self, line: bytes) -> None:
        self.number += 1
        if line.endswith(b"\n"):
            raise BadInput("it does not end with a line feed. Is the file whole?")
        if not _ALLOWED.fullmatch(line):
            raise BadInput("it holds a control character. Tabs and spaces separate, a line feed ends a line.")
        words = [word for word in re.split(rb"[ \t]+", line) if word]
        if not words:
            return
        if words[0].startswith(b"#"):
            self.comment(line.strip(b" \t"))
            return
        verb, rest = words[0], words[1:]
        wanted = {
            b"log": (self.log, 1, 2),
            b"witness": (self.witness, 2, 3),
            b"group": (self.group, 3, None),
            b"quorum": (self.set_quorum, 1, 1),
        }
        if verb not in wanted:
            raise BadInput(f"it begins with {_show(verb)}; log, witness, group and quorum are known.")
        read, least, most = wanted[verb]
        if len(rest) < least or (most is not None and len(rest) > most):
            raise BadInput(f"{verb.decode()} has {len(rest)} words after it.")
        read(rest)

    def end(self) -> None:
        self.number += 1
        if self.quorum is None:
            raise BadInput("the file ends without a quorum line.")

    def comment(self, line: bytes) -> None:
        found = _AGE.fullmatch(line)
        if not found:
            return
        if self.age is not None:
            raise BadInput("greatest-age stands in the file twice.")
        age = re.fullmatch(rb"[ \t]+([1-9][0-9]{0,9})", found[1])
        if age is None:
            raise BadInput("greatest-age is followed by a number of seconds.")
        self.age = int(age[1])

    def log(self, words: list[bytes]) -> None:
        key = _key(words[0], LOG_TYPES, "log")
        if any(other.key.public == key.public for other in self.logs):
            raise BadInput(f"the log key of {key.name} stands in the file twice.")
        self.logs.append(Log(key, _url(words[1:])))
        _limit(self.logs)

    def witness(self, words: list[bytes]) -> None:
        self.define(words[0])
        key = _key(words[1], WITNESS_TYPES, "witness")
        if any(other.key.public == key.public for other in self.witnesses):
            raise BadInput(f"the witness key of {key.name} stands in the file twice.")
        self.witnesses.append(Witness(_show(words[0]), key, _url(words[2:])))
        _limit(self.witnesses)

    def group(self, words: list[bytes]) -> None:
        name, rule, *members = words
        for member in members:
            self.require_defined(member)
            if member in self.members:
                raise BadInput(f"{_show(member)} is a member already, and may be so once in the file.")
            self.members.add(member)
        self.define(name)
        if rule == b"any":
            threshold = 1
        elif rule == b"all":
            threshold = len(members)
        elif _COUNT.fullmatch(rule) and int(rule) <= len(members):
            threshold = int(rule)
        else:
            raise BadInput(
                f"{_show(rule)} is not any, all or a number from 1 to {len(members)}, the number of members."
            )
        self.groups.append(Group(_show(name), threshold, tuple(map(_show, members))))
        _limit(self.groups)

    def set_quorum(self, words: list[bytes]) -> None:
        if self.quorum is not None:
            raise BadInput("there is a second quorum line.")
        if words[0] == b"none":
            self.quorum = ""
            return
        self.require_defined(words[0])
        self.quorum = _show(words[0])

    def define(self, name: bytes) -> None:
        if name == b"none":
            raise BadInput("none is no name for a witness or a group.")
        if name in self.names:
            raise BadInput(f"{_show(name)} is defined already.")
        self.names.add(name)

    def require_defined(self, name: bytes) -> None:
        if name not in self.names:
            raise BadInput(f"{_show(name)} is not defined on a line before.")


def _key(word: bytes, types: tuple[int, ...], what: str) -> VerifierKey:
    try:
        key = VerifierKey.parse(word.decode())
    except UnicodeDecodeError as error:
        raise BadInput("a key's name is UTF-8.") from error
    if key.type not in types:
        raise BadInput(f"the key of {key.name} is of type {key.type:#04x}, which is not for a {what}.")
    return key


def _url(words: list[bytes]) -> str:
    return _show(words[0]) if words else ""


def _show(word: bytes) -> str:
    """Octets as text; two names stay two, as no word of the file holds a space."""
    try:
        return word.decode()
    except UnicodeDecodeError:
        return f"octets {word.hex()}"


def _limit(found: list) -> None:
    if len(found) > MAX_OF_EACH:
        raise BadInput(f"there are more than {MAX_OF_EACH} of this kind.")


# --- judging ----------------------------------------------------------------------------------------------------


def evaluate(policy: Policy, note: str | Parsed, now: datetime) -> Verdict:
    """Whether a checkpoint satisfies the policy at a moment, and why not.

    Raises BadInput for a note that is not in the form. A policy without logs leaves the log's own signature to the
    caller, who knows the log otherwise.
    """
    parsed = parse_note(note) if isinstance(note, str) else note
    reasons: list[str] = []
    signed, wrong = [], False
    for log in policy.logs:
        try:
            if log.key.name == parsed.origin:
                log.key.verify(parsed)
                signed.append(log.key.label)
        except NotSigned:
            continue
        except WrongSignature as error:
            wrong = True
            reasons.append(error.sentence)
    if policy.logs and not signed and not wrong:
        reasons.append(f"No log of the policy signed this checkpoint of {parsed.origin}.")
    times: dict[str, datetime] = {}
    standings = {w.name: _standing(w, parsed, now, policy.greatest_age, times) for w in policy.witnesses}
    missing = _missing(policy, {name for name, s in standings.items() if s is Standing.COSIGNED})
    if missing:
        reasons.append(missing)
        reasons += [f"Witness {name}: {s}." for name, s in standings.items() if s is not Standing.COSIGNED]
    return Verdict(not reasons, tuple(signed), standings, times, tuple(reasons))


def _standing(
    witness: Witness, parsed: Parsed, now: datetime, greatest: int | None, times: dict[str, datetime]
) -> Standing:
    try:
        stated = witness.key.verify(parsed)
    except NotSigned:
        return Standing.MISSING
    except WrongSignature:
        return Standing.WRONG
    age = now.timestamp() - stated
    if age < -SKEW_S:
        return Standing.FUTURE
    times[witness.name] = datetime.fromtimestamp(stated, UTC)
    if greatest is not None and age > greatest:
        return Standing.OLD
    return Standing.COSIGNED


def _missing(policy: Policy, cosigned: set[str]) -> str:
    """What the quorum lacks, as a sentence; empty when it is there. Groups name only what stands before them."""
    if not policy.quorum:
        return ""
    met = set(cosigned)
    counts: dict[str, str] = {}
    for group in policy.groups:
        there = sum(member in met for member in group.members)
        counts[group.name] = f"{there} of the {group.threshold} that are needed among {len(group.members)}"
        if there >= group.threshold:
            met.add(group.name)
    if policy.quorum in met:
        return ""
    if policy.quorum in counts:
        return f"The quorum {policy.quorum} has {counts[policy.quorum]}."
    return f"The witness {policy.quorum}, which the policy asks for, does not count."
