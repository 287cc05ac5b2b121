"""Steps 5 to 7: checkpoints and the keys that signed them, what witnesses and authorities said of them, and when."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from django.conf import settings
from django.utils import timezone

from archive.custody import last_signed, timestamps
from archive.custody.canonical import plain
from archive.custody.keychain import KeyChain, keys_in_force
from archive.custody.notes import ED25519, NotSigned, Parsed, VerifierKey, WrongSignature, parse_note
from archive.custody.policy import Policy, Standing, evaluate, parse_policy, read_policy
from archive.custody.verify.reader import raw_of, readable
from archive.custody.verify.report import Report
from archive.custody.verify.times import Span
from archive.custody.verify.tree import Signed
from archive.errors import BadInput, KeyUnavailable
from archive.models import Checkpoint, CustodyEvent

KNOWN = "the known checkpoint"
KEPT = "the checkpoint that was signed last"
TOLERANCE = timedelta(minutes=15)  # clocks differ, and a long transaction records before it commits


@dataclass
class Heads:
    """What checkpoints say of the log, once their signatures were looked at."""

    signed: list[Signed] = field(default_factory=list)
    anchored: list[tuple[int, datetime]] = field(default_factory=list)  # size, and when it was seen outside
    # SHA-256 of every stored cosignature and timestamp, and whose it is said to be.
    confirmed: set[tuple[str, str]] = field(default_factory=set)
    columns: dict[tuple[int, str], list[dict[str, Any]]] = field(
        default_factory=dict
    )  # by size and root, as events say them
    whole: bool = False  # all of it was looked at

    def spans(self) -> list[Span]:
        """When the events of each stretch of positions may have happened."""
        times: dict[int, list[datetime]] = {}
        for size, moment in self.anchored:
            times.setdefault(size, []).append(moment)
        sizes = sorted(times)
        latest: list[datetime | None] = [None]
        for size in reversed(sizes):
            first = min(times[size])
            latest.append(first if latest[-1] is None else min(first, latest[-1]))
        spans, earliest = [], None
        for start, before in zip([0, *sizes], reversed(latest), strict=True):
            if start:
                last = max(times[start])
                earliest = last if earliest is None else max(earliest, last)
            spans.append(
                Span(
                    start,
                    _text(earliest - TOLERANCE) if earliest else "",
                    _text(before + TOLERANCE) if before else "",
                )
            )
        return spans


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def check_heads(
    report: Report, *, known: str, public_key: bytes | None, policy: str, integrated: int
) -> Heads:
    """Look at every checkpoint, and at the known one. What cannot be checked is told in the report."""
    heads = Heads()
    chain = _keys(report, public_key)
    rules = _policy(report, policy)

    lost: list[Any] = []

    def unreadable(key: Any) -> None:
        lost.append(key)
        told = "a column of it, or of what confirms it, holds what no such column can hold"
        report.add("altered checkpoint", f"checkpoint {key}", told)

    stored = Checkpoint.objects.select_related("map").prefetch_related("cosignatures", "timestamps")
    rows = list(readable(stored, unreadable))
    for row in rows:
        place = f"checkpoint {row.pk}"
        parsed = _checkpoint(report, place, str(row.note), chain, rules)
        said = {
            "note": row.note,
            "signed_at": plain(row.signed_at),
            "map": row.map.size if row.map else None,
        }
        heads.columns.setdefault((row.size, row.root), []).append(said)
        if parsed is None:
            continue
        if (row.size, row.root) != (parsed.size, parsed.root.hex()):
            report.add("altered checkpoint", place, "its columns do not say what its text says")
        heads.signed.append((place, parsed.size, parsed.root))
        if row.map_id and parsed.size > integrated:
            report.add(
                "altered tile",
                place,
                f"it covers {parsed.size} events, and the tiles hold {integrated}: some are gone",
            )
        heads.anchored += _outside(report, place, row, rules)
        heads.confirmed |= {
            (sha256(str(one.line).encode()).hexdigest(), one.witness) for one in row.cosignatures.all()
        }
        heads.confirmed |= {
            (sha256(raw_of(one.response)).hexdigest(), one.authority) for one in row.timestamps.all()
        }
    kept = _kept(report)
    if any(row.note == kept for row in rows):
        kept = ""  # looked at above
    for place, note in ((KNOWN, known), (KEPT, kept)):
        parsed = _checkpoint(report, place, note, chain, rules) if note else None
        if parsed:
            heads.signed.append((place, parsed.size, parsed.root))
            heads.anchored += _known_times(report, parsed, rules)
            if not lost and all((row.size, row.root) != (parsed.size, parsed.root.hex()) for row in rows):
                report.add("missing checkpoint", place, "the log does not have it among those that it signed")
    _restores(report)
    if not report.checkpoints:
        report.remarks.append(
            "No checkpoint was signed yet, so a cut-off end could not be noticed: manage.py custody checkpoint"
        )
    if rules is not None:
        _satisfied(report, rows, rules)
    heads.whole = not lost
    return heads


def _kept(report: Report) -> str:
    """What this machine keeps of what it signed, outside of the database."""
    try:
        return last_signed.read()
    except KeyUnavailable as error:
        report.unchecked.append(error.sentence)
        return ""


def _restores(report: Report) -> None:
    for event in CustodyEvent.objects.filter(type=last_signed.EVENT).order_by("pk"):
        report.remarks.append(
            f"{event.subject} {event.number}: somebody let the log go on from an older state; the checkpoint that was "
            "given up stands in that event."
        )


def _keys(report: Report, public_key: bytes | None) -> KeyChain | None:
    """Step 5: which keys sign at which size."""
    trusted = (VerifierKey(settings.NAME_IN_LOG, ED25519, public_key),) if public_key else ()
    try:
        chain = keys_in_force(trusted)
    except KeyUnavailable as error:
        report.unchecked.append(f"signatures of checkpoints: {error.sentence}")
        return None
    except (ValueError, KeyError, TypeError):  # an event that is no event: step 1 names it
        report.add("wrong key", "the log's changes of key", "one of them cannot be read")
        return None
    for position, sentence in chain.faults:
        place = "the keys that you trust" if position < 0 else f"position {position}"
        report.add("wrong key", place, sentence)
    return chain


def _policy(report: Report, policy: str) -> Policy | None:
    try:
        if policy:
            return parse_policy(policy.encode())
        return read_policy(settings.POLICY_FILE) if settings.POLICY_FILE else None
    except BadInput as error:
        report.unchecked.append(f"cosignatures: {error.sentence}")
        return None


def _checkpoint(
    report: Report, place: str, note: str, chain: KeyChain | None, rules: Policy | None
) -> Parsed | None:
    """Step 5."""
    report.checkpoints += 1
    try:
        parsed = parse_note(note)
    except BadInput:
        report.add("altered checkpoint", place, "it is not in the form of a signed checkpoint")
        return None
    if parsed.origin != settings.NAME_IN_LOG:
        report.add(
            "wrong log", place, f"it is of the log {parsed.origin!r}, this one is {settings.NAME_IN_LOG!r}"
        )
        return parsed
    asked = [key for key in chain.at(parsed.size)] if chain else []
    if asked and not all(_has_signed(key, parsed) for key in asked):
        report.add("wrong key", place, "it carries no good signature of the log's key")
    logs = [log.key for log in rules.logs if log.key.name == parsed.origin] if rules else []
    if rules and rules.logs and not any(_has_signed(key, parsed) for key in logs):
        report.add("wrong key", place, "no key of the log that the policy names has signed it")
    return parsed


def _has_signed(key: VerifierKey, parsed: Parsed) -> bool:
    try:
        key.verify(parsed)
    except (NotSigned, WrongSignature):
        return False
    return True


# --- step 6: confirmations from outside ---------------------------------------------------------------------------


def _outside(report: Report, place: str, row: Checkpoint, rules: Policy | None) -> list[tuple[int, datetime]]:
    witnesses = {witness.key.label: witness.key for witness in rules.witnesses} if rules else {}
    seen: list[tuple[int, datetime]] = []
    for cosignature in row.cosignatures.all():
        report.cosignatures += 1
        where = f"cosignature of {cosignature.witness} on {place}"
        key = witnesses.get(cosignature.witness)
        if key is None:
            _once(report, f"cosignatures of {cosignature.witness}: no policy names this witness")
            continue
        try:
            moment = datetime.fromtimestamp(key.verify(parse_note(f"{row.note}{cosignature.line}")), UTC)
        except (BadInput, ValueError, OverflowError):
            report.add(
                "altered cosignature", where, "it is not this witness's signature over this checkpoint"
            )
            continue
        if moment != cosignature.stated_at:
            report.add("altered cosignature", where, "the time beside it is not the one that it states")
        seen.append((row.size, moment))
    for stamp in row.timestamps.all():
        report.timestamps += 1
        if (at := _stamp(report, f"timestamp of {stamp.authority} on {place}", row, stamp)) is not None:
            seen.append((row.size, at))
    return seen


def _stamp(report: Report, where: str, row: Checkpoint, stamp: Any) -> datetime | None:
    response = raw_of(stamp.response)
    try:
        roots = (
            timestamps.read_certificates(settings.TIMESTAMP_CERTIFICATES)
            if settings.TIMESTAMP_CERTIFICATES
            else []
        )
        if roots:
            moment = timestamps.verify(response, row.note, roots)
        else:
            moment = timestamps.read(response, row.note)
            _once(report, "who signed the timestamps: AMPARO_TIMESTAMP_CERTIFICATES names no certificates")
    except timestamps.BadTimestamp as error:
        report.add("altered timestamp", where, error.sentence)
        return None
    except BadInput as error:
        _once(report, f"timestamps: {error.sentence}")
        return None
    if moment != stamp.stated_at:
        report.add("altered timestamp", where, "the time beside it is not the one that it states")
    return moment if roots else None


def _once(report: Report, sentence: str) -> None:
    if sentence not in report.unchecked:
        report.unchecked.append(sentence)


def _known_times(report: Report, parsed: Parsed, rules: Policy | None) -> list[tuple[int, datetime]]:
    """When witnesses saw the known checkpoint, if it bears their lines."""
    seen = []
    for witness in rules.witnesses if rules else ():
        try:
            seen.append((parsed.size, datetime.fromtimestamp(witness.key.verify(parsed), UTC)))
        except NotSigned:
            continue
        except (WrongSignature, ValueError, OverflowError):
            report.add(
                "altered cosignature", KNOWN, f"its line of {witness.name} is not that witness's signature"
            )
    return seen


def _satisfied(report: Report, rows: Iterable[Checkpoint], rules: Policy) -> None:
    """Whether the newest checkpoint has what the policy asks for. The log's own key was looked at before."""
    newest = max(rows, key=lambda row: (row.size, row.pk), default=None)
    if newest is None:
        report.unchecked.append("the policy: there is no checkpoint yet")
        return
    lines = "".join(str(row.line) for row in sorted(newest.cosignatures.all(), key=lambda row: row.pk))
    try:
        verdict = evaluate(rules, newest.note + lines, timezone.now())
    except BadInput:
        return  # named by step 5
    if verdict.satisfied:
        return
    place, told = f"checkpoint {newest.pk}", " ".join(verdict.reasons)
    standings = set(verdict.witnesses.values())
    if Standing.WRONG in standings:
        report.add("altered cosignature", place, told)
    elif Standing.OLD in standings:
        report.add("old checkpoint", place, f"it is the newest here, and was confirmed too long ago. {told}")
    elif Standing.MISSING in standings or Standing.FUTURE in standings:
        report.unchecked.append(f"the policy on {place}: {told}")
