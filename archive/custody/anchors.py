"""Confirmations from outside our reach: witnesses cosign a checkpoint, authorities timestamp it.

Which witnesses there are, and which of them must cosign, is the policy file (AMPARO_POLICY_FILE). Whoever does not
answer is asked again at the next checkpoint; a checkpoint without answers is still one.
"""

import base64
import hashlib
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from cryptography import x509
from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

from archive.custody import timestamps
from archive.custody.actor import Actor
from archive.custody.canonical import timestamp
from archive.custody.log import record, recording
from archive.custody.notes import NotSigned, VerifierKey, WrongSignature, parse_note
from archive.custody.outside import post
from archive.custody.policy import SKEW_S, Policy, Standing, Verdict, Witness, evaluate, read_policy
from archive.errors import AmparoError, BadInput, Conflict
from archive.models import Anchor, Checkpoint, Cosignature, Timestamp

log = logging.getLogger("amparo.custody")

AT_ONCE = 8
PER_EVENT = 100  # confirmations that one event tells of: it has a limit of bytes
LOOK_BACK = 200  # checkpoints in which the newest witnessed one is looked for
POLICY = "policy"  # its line among the parties, when the file itself is wrong
CERTIFICATES = "timestamp certificates"


def own_policy() -> Policy | None:
    """The policy of this archive; None where none is configured. Raises BadInput for a wrong file."""
    return read_policy(settings.POLICY_FILE) if settings.POLICY_FILE else None


def cosigned_note(checkpoint: Checkpoint) -> str:
    """The checkpoint as the log signed it, with the lines of its witnesses."""
    rows = sorted(checkpoint.cosignatures.all(), key=lambda row: row.pk)
    return checkpoint.note + "".join(row.line for row in rows)


def judge(checkpoint: Checkpoint, now: datetime | None = None) -> Verdict | None:
    """What the policy says of a checkpoint; None without a policy. Raises BadInput for a wrong policy file."""
    policy = own_policy()
    return evaluate(policy, cosigned_note(checkpoint), now or timezone.now()) if policy else None


def require_witnessed(checkpoint: Checkpoint, now: datetime | None = None) -> None:
    """Raise Conflict, with each reason, when the policy is not satisfied. Nothing is signed over such a checkpoint."""
    verdict = judge(checkpoint, now)
    if verdict is not None and not verdict.satisfied:
        raise Conflict(
            "The checkpoint does not have the cosignatures that the policy asks for, so nothing was signed: "
            f"{' '.join(verdict.reasons)} Try again when the witnesses can be reached."
        )


def outdated(checkpoint: Checkpoint) -> bool:
    """Ask again whoever has not confirmed a checkpoint; whether their word is too old, so that a new one is due."""
    collect(checkpoint)
    try:
        verdict = judge(checkpoint)
    except BadInput:
        return False  # `status` says why
    return verdict is not None and not verdict.satisfied and Standing.OLD in verdict.witnesses.values()


# --- collecting ---------------------------------------------------------------------------------------------------


@dataclass
class _Gathered:
    """What one round brought in."""

    cosignatures: list[Cosignature] = field(default_factory=list)
    stamps: list[tuple[Timestamp, bool]] = field(default_factory=list)  # and whether it was verified
    errors: dict[str, str] = field(default_factory=dict)  # by the party's label; empty text: it answered


def collect(checkpoint: Checkpoint) -> None:
    """Ask all witnesses and authorities that have not confirmed this checkpoint yet, and store what holds.

    The network is asked outside of any transaction, all parties at the same time, at most 15 s for an answer. What
    fails is logged and stands in `status`; nothing is raised for it.
    """
    found = _Gathered()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        asked = _ask_witnesses(checkpoint, pool, found)
        stamped = _ask_authorities(checkpoint, pool, found)
        _take_cosignatures(checkpoint, pool, asked, found)
        _take_stamps(checkpoint, stamped, found)
    for label, error in found.errors.items():
        if error:
            log.warning("not confirmed", extra={"id": label, "size": checkpoint.size})
    try:
        _store(checkpoint, found)
    except IntegrityError:
        log.info("confirmed by another process at the same time", extra={"size": checkpoint.size})
    _remember(found.errors)


Answer = tuple[int, str, bytes]
_Asked = list[tuple[str, list[Witness], int, "Future[Answer]"]]
_Stamped = list[tuple[str, int | None, Sequence[x509.Certificate], "Future[Answer]"]]


def _ask_witnesses(checkpoint: Checkpoint, pool: ThreadPoolExecutor, found: _Gathered) -> _Asked:
    try:
        policy = own_policy()
    except BadInput:
        log.warning("the policy file is wrong")  # `status` says how
        return []
    done = set(checkpoint.cosignatures.values_list("witness", flat=True))
    by_url: dict[str, list[Witness]] = {}
    for witness in policy.witnesses if policy else ():
        if witness.url:
            by_url.setdefault(witness.url.rstrip("/"), []).append(witness)
    asked: _Asked = []
    for url, witnesses in by_url.items():
        if all(witness.key.label in done for witness in witnesses):
            continue
        labels = [witness.key.label for witness in witnesses]
        rows = Cosignature.objects.filter(witness__in=labels, checkpoint__size__lte=checkpoint.size)
        old = rows.order_by("-checkpoint__size").values_list("checkpoint__size", flat=True).first() or 0
        try:
            asked.append((url, witnesses, old, pool.submit(_submission(url, old, checkpoint))))
        except AmparoError as error:
            found.errors |= dict.fromkeys(labels, error.sentence)
    return asked


def _submission(url: str, old: int, checkpoint: Checkpoint) -> Callable[[], Answer]:
    from archive.custody.proofs import consistency

    proof = "".join(f"{base64.b64encode(node).decode()}\n" for node in consistency(old, checkpoint.size))
    body = f"old {old}\n{proof}\n{checkpoint.note}"
    return partial(post, f"{url}/add-checkpoint", body.encode(), "text/plain; charset=utf-8")


def _take_cosignatures(
    checkpoint: Checkpoint, pool: ThreadPoolExecutor, asked: _Asked, found: _Gathered
) -> None:
    """Read answers; who says 409 knows another size and is asked once more, with the proof from there."""
    again: _Asked = []
    for url, witnesses, old, future in asked:
        try:
            answer = future.result()
            if answer[0] == 409:
                known = _known_size(answer, old, checkpoint)
                again.append((url, witnesses, known, pool.submit(_submission(url, known, checkpoint))))
            else:
                _take_lines(checkpoint, witnesses, answer, found)
        except AmparoError as error:
            found.errors |= dict.fromkeys((w.key.label for w in witnesses), error.sentence)
    for _, witnesses, old, future in again:
        try:
            answer = future.result()
            if answer[0] == 409:
                _known_size(answer, old, checkpoint)
            _take_lines(checkpoint, witnesses, answer, found)
        except AmparoError as error:
            found.errors |= dict.fromkeys((w.key.label for w in witnesses), error.sentence)


def _known_size(answer: Answer, asked: int, checkpoint: Checkpoint) -> int:
    """The size in an answer of 409 to `asked`. Raises BadInput where asking again from there cannot help."""
    _, kind, body = answer
    text = body.decode("ascii", "replace").removesuffix("\n")
    if kind.split(";")[0].strip() != "text/x.tlog.size" or not text.isdecimal() or len(text) > 19:
        raise BadInput("It answered 409 without the size that it knows.")
    if int(text) > checkpoint.size:
        raise BadInput(
            f"It has cosigned {int(text):,} events of this log, and this checkpoint has {checkpoint.size:,}: an older "
            "state of the log was restored, or somebody else signs in its name. Find out before anything else."
        )
    if int(text) == asked:
        raise BadInput(
            f"It says (409) that the tree of {asked:,} events that it cosigned is another: the log's past was changed. Find "
            "out before anything else."
        )
    return int(text)


REFUSALS = {
    400: "It could not read the request",
    403: "It does not trust the log's key: its operator has to add it",
    404: "It does not know this log: its operator has to add it",
    409: "It has cosigned another checkpoint meanwhile, and is asked again at the next one",
    422: "It says that this checkpoint does not continue what it saw: the log's past was changed. Find out before "
    "anything else",
}


def _take_lines(checkpoint: Checkpoint, witnesses: list[Witness], answer: Answer, found: _Gathered) -> None:
    status, _, body = answer
    if status != 200:
        told = body[:200].decode("utf-8", "replace").strip()
        raise BadInput(f"{REFUSALS.get(status, 'It refused')} (status {status}: {told}).")
    try:
        parsed = parse_note(checkpoint.note + body.decode())
        if parsed.text != parse_note(checkpoint.note).text:  # more than lines was added
            raise BadInput("text")
    except (BadInput, UnicodeDecodeError) as error:
        raise BadInput("Its answer is not signature lines.") from error
    known = set(checkpoint.cosignatures.values_list("witness", flat=True))
    for witness in witnesses:
        key = witness.key
        try:
            moment = key.verify(parsed)
        except (NotSigned, WrongSignature) as error:
            found.errors[key.label] = error.sentence
            continue
        if moment > timezone.now().timestamp() + SKEW_S:
            found.errors[key.label] = "Its cosignature is from the future: compare its clock with ours."
            continue
        found.errors[key.label] = ""
        if key.label not in known:
            stated = datetime.fromtimestamp(moment, UTC)
            line = key.line(_newest(key, parsed.signatures))
            row = Cosignature(checkpoint=checkpoint, witness=key.label, line=line, stated_at=stated)
            found.cosignatures.append(row)


def _newest(key: VerifierKey, signatures: Sequence[tuple[str, bytes, bytes]]) -> bytes:
    return max(
        blob for name, its, blob in signatures if (name, its) == (key.name, key.id)
    )  # the time comes first


def _ask_authorities(checkpoint: Checkpoint, pool: ThreadPoolExecutor, found: _Gathered) -> _Stamped:
    if not settings.TIMESTAMP_URLS:
        return []
    try:
        roots = _roots()
    except BadInput:
        log.warning("the timestamp certificates cannot be read")  # `status` says how
        return []
    done = set(checkpoint.timestamps.values_list("authority", flat=True))
    stamped: _Stamped = []
    for url in settings.TIMESTAMP_URLS:
        if _label(url) not in done:
            request = timestamps.request(checkpoint.note)
            future = pool.submit(post, url, request.as_bytes(), "application/timestamp-query")
            stamped.append((url, request.nonce, roots, future))
    return stamped


def _roots() -> Sequence[x509.Certificate]:
    path = settings.TIMESTAMP_CERTIFICATES
    return timestamps.read_certificates(path) if path and settings.TIMESTAMP_URLS else ()


def _take_stamps(checkpoint: Checkpoint, stamped: _Stamped, found: _Gathered) -> None:
    for url, nonce, roots, future in stamped:
        try:
            status, _, body = future.result()
            if status != 200:
                raise BadInput(f"It refused (status {status}).")
            if roots:
                moment = timestamps.verify(body, checkpoint.note, roots, nonce=nonce)
            else:
                moment = timestamps.read(body, checkpoint.note, nonce=nonce)
        except AmparoError as error:
            found.errors[_label(url)] = error.sentence
            continue
        found.errors[_label(url)] = ""
        row = Timestamp(checkpoint=checkpoint, authority=_label(url), response=body, stated_at=moment)
        found.stamps.append((row, bool(roots)))


def _label(url: str) -> str:
    return url[:200]


# --- storing ------------------------------------------------------------------------------------------------------


def _store(checkpoint: Checkpoint, found: _Gathered) -> None:
    """The rows and the events that tell of them, in one transaction."""
    if not found.cosignatures and not found.stamps:
        return
    with transaction.atomic(durable=True):
        with recording():
            Cosignature.objects.bulk_create(found.cosignatures)
            Timestamp.objects.bulk_create(row for row, _ in found.stamps)
        _record(
            "system.checkpoint_witnessed",
            checkpoint,
            "witnesses",
            [
                {
                    "witness": row.witness,
                    "stated_at": timestamp(row.stated_at),
                    "line_sha256": hashlib.sha256(row.line.encode()).hexdigest(),
                }
                for row in found.cosignatures
            ],
        )
        _record(
            "system.checkpoint_timestamped",
            checkpoint,
            "timestamps",
            [
                {
                    "authority": row.authority,
                    "stated_at": timestamp(row.stated_at),
                    "response_sha256": hashlib.sha256(row.response).hexdigest(),
                    "verified": verified,
                }
                for row, verified in found.stamps
            ],
        )


def _record(event: str, checkpoint: Checkpoint, what: str, told: list[dict[str, Any]]) -> None:
    for start in range(0, len(told), PER_EVENT):
        payload = {"size": checkpoint.size, "root": checkpoint.root, what: told[start : start + PER_EVENT]}
        record("system:main", event=event, actor=Actor.system("anchors"), payload=payload)


def _remember(errors: dict[str, str]) -> None:
    if not errors:
        return
    now = timezone.now()
    with transaction.atomic(durable=True), recording():
        for name, error in errors.items():
            Anchor.objects.update_or_create(name=name, defaults={"tried_at": now, "error": error})


# --- how it stands ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Party:
    """A witness or an authority: what it last confirmed (`at` by its own clock), and why it last did not answer."""

    name: str
    words: str | Promise
    size: int = 0
    at: datetime | None = None
    tried_at: datetime | None = None
    error: str = ""


def status() -> list[Party]:
    """Everybody who is configured, and files of the configuration that are wrong."""
    answers = {row.name: row for row in Anchor.objects.all()}
    parties: list[Party] = []
    try:
        policy = own_policy()
    except BadInput as error:
        policy = None
        parties.append(Party(POLICY, gettext_lazy("policy file"), error=error.sentence))
    for witness in policy.witnesses if policy else ():
        rows = Cosignature.objects.filter(witness=witness.key.label).order_by("-checkpoint__size")
        newest = rows.values_list("checkpoint__size", "stated_at").first()
        parties.append(_party(witness.name, gettext_lazy("witness"), newest, answers.get(witness.key.label)))
    for url in settings.TIMESTAMP_URLS:
        stamps = Timestamp.objects.filter(authority=_label(url)).order_by("-checkpoint__size")
        newest = stamps.values_list("checkpoint__size", "stated_at").first()
        parties.append(_party(url, gettext_lazy("timestamp authority"), newest, answers.get(_label(url))))
    try:
        _roots()
    except BadInput as error:
        parties.append(Party(CERTIFICATES, gettext_lazy("certificates"), error=error.sentence))
    return parties


def _party(name: str, words: Promise, newest: tuple[int, datetime] | None, answer: Anchor | None) -> Party:
    size, at = newest or (0, None)
    return Party(name, words, size, at, answer.tried_at if answer else None, answer.error if answer else "")


def witnessed_size() -> int:
    """How many events the newest checkpoint covers that has the cosignatures which the policy asks for. 0 without one.

    Their age is asked where something new is signed over them, not here: an event once witnessed stays so.
    """
    try:
        policy = own_policy()
    except BadInput:
        return 0  # `status` says why
    if policy is None or not policy.quorum:
        return 0
    policy, now = replace(policy, greatest_age=None), timezone.now()
    candidates = Checkpoint.objects.filter(cosignatures__isnull=False).distinct().order_by("-size")
    for checkpoint in candidates.prefetch_related("cosignatures")[:LOOK_BACK]:
        if evaluate(policy, cosigned_note(checkpoint), now).satisfied:
            return checkpoint.size
    return 0
