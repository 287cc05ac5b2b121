"""Append to the custody log: the one function that makes a change and its event together.

A row of a custody-relevant table can be written only through `write`, `change` and `erase` here. Any other way,
by ORM or by SQL on Django's connection, raises UnrecordedChange (see `guard`).
"""

import contextlib
import re
import secrets
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from django.apps import apps
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import DEFAULT_DB_ALIAS, connection, models
from django.utils import timezone

from archive import jobs
from archive.custody import store
from archive.custody.actor import Actor, is_unattended
from archive.custody.canonical import (
    MAX_EVENT_BYTES,
    ZERO_HASH,
    canonical,
    commitment,
    event_hash,
    plain,
    timestamp,
)
from archive.errors import BadInput, Conflict, Damaged, NotAllowed, UnrecordedChange
from archive.events import EVENTS

M = TypeVar("M", bound=models.Model)
_LONGEST = 2**53  # no number has more digits
_recording: ContextVar[bool] = ContextVar("recording", default=False)


@dataclass(frozen=True)
class Private:
    """A value that the event only commits to; it can be withheld from an export and the event still verifies."""

    value: Any


# --- a change and its event -----------------------------------------------------------------------------------


def write(obj: M, *, event: str, actor: Actor, reason: str = "", also: dict | None = None) -> M:
    """Insert a row and append its event. Call inside a transaction.

    Raises django.db.IntegrityError when a constraint refuses the row; then no event exists either.
    """
    require_entitled(event, actor)
    clean_row(obj, [f.name for f in obj._meta.fields])
    with recording():
        obj.save(force_insert=True)
    names = [*obj.recorded, *obj.private]
    _record_row(obj, names, event=event, actor=actor, reason=reason, also=also)
    return obj


def change(
    obj: M,
    *,
    event: str,
    actor: Actor,
    reason: str = "",
    expect: dict | None = None,
    also: dict | None = None,
    **fields: Any,
) -> M:
    """Update named fields of a row that is still as expected, and append the event of it.

    Raises Conflict when the row is gone or not as `expect` says; then nothing changed.
    """
    require_entitled(event, actor)
    for name, value in fields.items():
        setattr(obj, name, value)
    clean_row(obj, list(fields))
    with recording():
        hit = type(obj)._base_manager.filter(pk=obj.pk, **(expect or {})).update(**fields)
    if hit != 1:
        raise Conflict("Somebody else changed this first. Nothing of yours was saved: look again and repeat.")
    named = [name for name in fields if name in (*obj.recorded, *obj.private)]
    _record_row(obj, named, event=event, actor=actor, reason=reason, also=also)
    return obj


def erase(obj: M, *, event: str, actor: Actor, reason: str = "") -> None:
    """Delete a row that may be deleted (a grant, a tag on an item) and append the event of it.

    Raises Conflict when it is gone already; then nothing changed.
    """
    require_entitled(event, actor)
    key, subject = str(obj.pk), obj.custody_subject()
    with recording():
        hit, _ = type(obj)._base_manager.filter(pk=obj.pk).delete()
    if not hit:
        raise Conflict("Somebody else took this away first. Look again.")
    record(
        subject,
        event=event,
        actor=actor,
        reason=reason,
        payload={"record": obj._meta.label_lower, "id": key, "erased": True},
    )


def clean_row(obj: models.Model, names: list[str]) -> None:
    """Validate the named fields. Keys to other rows and uniqueness are left to the database's own constraints."""
    passed = [
        f.name
        for f in obj._meta.fields
        if f.name not in names or f.is_relation or (f.null and f.value_from_object(obj) is None)
    ]
    obj.clean_fields(exclude=passed)
    for field in obj._meta.fields:  # Django checks the length of short text only
        value = field.value_from_object(obj)
        if (
            field.name in names
            and isinstance(field, models.TextField)
            and len(value) > (field.max_length or len(value))
        ):
            raise ValidationError(
                {field.name: f"At most {field.max_length:,} characters; this has {len(value):,}."}
            )
    obj.clean()


def _record_row(
    obj: models.Model, names: list[str], *, event: str, actor: Actor, reason: str, also: dict | None
) -> None:
    payload = row_payload(obj, names, also)
    record(obj.custody_subject(), event=event, actor=actor, reason=reason, payload=payload, row=obj)


def row_payload(obj: models.Model, names: list[str], also: dict | None) -> dict:
    """What an event says of a row: its open fields, and commitments to its private ones."""
    values = {name: _field(obj, name) for name in names}
    return {"record": obj._meta.label_lower, "id": str(obj.pk), "set": values, **(also or {})}


def _field(obj: models.Model, name: str) -> Any:
    value = obj._meta.get_field(name).value_from_object(obj)
    if name in obj.private and value not in ("", None):
        return Private(value)
    return value


# --- an event ---------------------------------------------------------------------------------------------------


def record(
    subject: "models.Model | str",
    *,
    event: str,
    actor: Actor,
    payload: dict | None = None,
    reason: str = "",
    row: models.Model | None = None,
    clock: Callable[[], datetime] = timezone.now,
    salt: Callable[[], str] = lambda: secrets.token_hex(32),
) -> "models.Model":
    """Append one event to a subject's chain, in the caller's transaction, locking only that subject.

    `subject` is a custodial row or "type:id". Raises NotAllowed when the event needs a human and none is there,
    BadInput when it is over 65,535 bytes (refer to larger payloads by hash), KeyError for an unknown type.
    """
    require_transaction()
    require_entitled(event, actor)
    name = subject if isinstance(subject, str) else subject.custody_subject()
    what: dict[str, Any] = {
        "event": event, "actor": actor, "reason": reason, "payload": payload, "salt": salt,
    }  # fmt: skip
    with recording(), store.Writer() as writer:
        found = _append_at_once(writer, name, clock(), what) if writer.postgresql else None
        if found is None:
            tip = writer.lock([name])[name]
            told = next_event(tip, moment=clock(), **what)
            found = writer.append([told], [tip])[0], told
    jobs.follow(event, row if row is not None else subject)
    return stored(*found)


def _append_at_once(
    writer: store.Writer, name: str, moment: datetime, what: dict[str, Any]
) -> tuple[int, store.Recorded] | None:
    """Append in one statement, if the subject is free, known and the event not nearly too large; else do nothing."""
    made = draft(name, moment=moment, **what)
    if len(made.body(_LONGEST, ZERO_HASH)) > MAX_EVENT_BYTES or (put := writer.append_draft(made)) is None:
        return None
    key, number, previous, digest, moved = put
    body = made.body(number, previous)
    if event_hash(body).hex() != digest or moved != 1:
        raise Damaged("The database did not store the event as it was told to. Nothing was changed.")
    return key, store.Recorded(name, number, made.type, moment, body, digest, made.openings)


def next_event(
    tip: store.Tip,
    *,
    event: str,
    moment: datetime,
    actor: Actor,
    reason: str = "",
    payload: dict | None = None,
    salt: Callable[[], str] = lambda: secrets.token_hex(32),
) -> store.Recorded:
    """Compose the event that comes after `tip`, and move `tip` (the object, not the row) to it."""
    body, openings = compose(
        tip.name,
        tip.length + 1,
        tip.tip,
        event=event,
        moment=moment,
        actor=actor,
        reason=reason,
        payload=payload,
        salt=salt,
    )
    tip.length, tip.tip = tip.length + 1, event_hash(body).hex()
    return store.Recorded(tip.name, tip.length, event, moment, body, tip.tip, openings)


def stored(key: int, told: store.Recorded) -> models.Model:
    """The row of an event that was just stored."""
    from archive.models import CustodyEvent

    row = CustodyEvent(key, told.subject, told.number, told.type, told.time, told.canonical, told.hash)
    row._state.adding, row._state.db = False, DEFAULT_DB_ALIAS
    return row


def compose(subject: str, number: int, previous: str, **what: Any) -> tuple[bytes, list[store.Opening]]:
    """The canonical bytes of an event, and what its commitments open to: `what` goes to `draft`.

    Raises BadInput when it is too large.
    """
    made = draft(subject, **what)
    body = made.body(number, previous)
    if len(body) > MAX_EVENT_BYTES:
        raise BadInput(
            f"This would make an event of {len(body)} bytes; the log holds at most {MAX_EVENT_BYTES}. "
            "Nothing was changed: shorten the text."
        )
    return body, made.openings


def draft(
    subject: str,
    *,
    event: str,
    moment: datetime,
    actor: Actor,
    reason: str = "",
    payload: dict | None = None,
    salt: Callable[[], str] = lambda: secrets.token_hex(32),
) -> store.Draft:
    """An event but for its place in its chain. Raises ValueError and TypeError as `canonical` does."""
    openings: list[store.Opening] = []

    def hide(value: Any, pointer: str) -> Any:
        if isinstance(value, Private):
            inner, grain = plain(value.value), salt()
            openings.append((pointer, grain, inner))
            return {"commitment": commitment(grain, pointer, inner)}
        if isinstance(value, dict):
            return {k: hide(v, f"{pointer}/{_escaped(k)}") for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [hide(v, f"{pointer}/{i}") for i, v in enumerate(value)]
        return plain(value)

    who = {
        "kind": actor.kind,
        "id": actor.id,
        "role": actor.role,
        "name": hide(Private(actor.name), "/actor/name") if actor.name else "",
    }
    rest = {
        "reason": hide(Private(reason), "/reason") if reason else "",
        "software": settings.SOFTWARE,
        "subject": subject,
        "time": timestamp(moment),
        "type": event,
        "version": 1,
    }
    # The canonical form has the keys in this order: actor, number, payload, previous, reason ...
    return store.Draft(
        subject,
        event,
        moment,
        b'{"actor":' + canonical(who) + b',"number":',
        b',"payload":' + canonical(hide(payload or {}, "/payload")) + b',"previous":"',
        b'",' + canonical(rest)[1:],
        openings,
    )


def _escaped(key: str) -> str:
    """One step of an RFC 6901 pointer."""
    return key.replace("~", "~0").replace("/", "~1")


def require_transaction() -> None:
    if not connection.in_atomic_block:
        raise UnrecordedChange("An event is written in the transaction of its change: open one first.")


def require_entitled(event: str, actor: Actor) -> None:
    kind = EVENTS[event]
    if not kind.human:
        return
    if is_unattended() or not (actor.signed_in or (kind.operator and actor.kind == "operator")):
        raise NotAllowed("Only a signed-in person can do this.")


# --- nothing past the log ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def recording() -> Iterator[None]:
    """Let rows of guarded tables be written. Used inside archive.custody (and for roles) alone; a test keeps it so."""
    token = _recording.set(True)
    try:
        yield
    finally:
        _recording.reset(token)


# Wherever it stands in the statement: after WITH, after a comment, or as the second of two.
_STATEMENT = re.compile(
    r"\b(?:INSERT\s+(?:OR\s+\w+\s+)?INTO|REPLACE\s+INTO|UPDATE(?:\s+OR\s+\w+)?(?:\s+ONLY)?|DELETE\s+FROM"
    r"(?:\s+ONLY)?|TRUNCATE(?:\s+TABLE)?(?:\s+ONLY)?|MERGE\s+INTO|COPY)\s+(?:\"?public\"?\s*\.\s*)?\"?(\w+)\"?",
    re.I,
)
_COMMENT = re.compile(r"/\*.*?\*/|--[^\n]*", re.S)
# Signing in writes these columns by itself; no other column may be changed without an event.
_FREE_UPDATES = re.compile(
    r'UPDATE "archive_user" SET "(?:last_login|password)" = %s WHERE "archive_user"\."id" = %s'
)


def guarded_tables() -> frozenset[str]:
    """Names of all tables whose rows are custody-relevant, the log's own included."""
    global _tables
    if _tables is None:
        from archive.models import User
        from archive.models.base import Custodial, LogTable

        found = {m._meta.db_table for m in apps.get_models() if issubclass(m, Custodial | LogTable)}
        found |= {User.groups.through._meta.db_table, User.user_permissions.through._meta.db_table}
        _tables = frozenset(found)
    return _tables


_tables: frozenset[str] | None = None


def guard(execute: Callable, sql: str, params: Any, many: bool, context: dict) -> Any:
    """Refuse a statement that would change a guarded table outside the log. Installed on every connection."""
    if not _recording.get():
        for table in _STATEMENT.findall(_COMMENT.sub(" ", sql)):
            if table.lower() in guarded_tables() and not _FREE_UPDATES.fullmatch(sql):
                raise UnrecordedChange(
                    f"A row of {table} would change without its event: use custody.write, change or erase."
                )
    return execute(sql, params, many, context)


def install_guard(connection: Any, **_: Any) -> None:
    """Receiver of connection_created."""
    if guard not in connection.execute_wrappers:
        connection.execute_wrappers.append(guard)
