"""The last checkpoint that was signed, kept beside the keys and outside of the database.

Who owns the database can rewrite the log and delete its checkpoints; without this file the next one would be signed
over whatever stands there. A signature is given only over what continues the kept checkpoint (RFC 6962, section 2.1.2).
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from django.conf import settings
from django.db import transaction

from archive.custody.actor import Actor
from archive.custody.log import record, require_entitled
from archive.custody.notes import Parsed, parse_note
from archive.custody.proofs import consistency, verify_consistency
from archive.custody.signers import sync_folder
from archive.custody.tiles import root, size
from archive.errors import BadInput, Conflict, Damaged, KeyUnavailable

EVENT = "system.restore_accepted"
_TOLD = (
    "Nothing was signed and nothing is lost. Run: ./manage custody verify. If a backup was restored, see "
    "docs/custody-log.md, 'After a restore'."
)


def read() -> str:
    """The kept checkpoint, whole text; empty before the first one. Raises KeyUnavailable when it cannot be read."""
    path: Path = settings.LAST_CHECKPOINT_FILE
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise KeyUnavailable(
            f"The last signed checkpoint cannot be read: {path} ({error}). {_TOLD}"
        ) from error


@contextlib.contextmanager
def signing() -> Iterator[None]:
    """One signature at a time on this machine, from the look at the kept checkpoint until the next one is kept."""
    path: Path = settings.LAST_CHECKPOINT_FILE
    lock = path.with_name(f"{path.name}.lock")
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise KeyUnavailable(
            f"{lock} cannot be opened ({error.strerror}), and a signature must be remembered. Nothing was signed: make "
            "the folder of LAST_CHECKPOINT_FILE writable for Amparo."
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def require_continued(covered: int) -> None:
    """Raises Damaged unless the first `covered` events of the tree begin with all that was signed last."""
    last = _parsed()
    if last is None:
        return
    if covered < last.size or not _begins_with(last, covered):
        raise Damaged(
            f"The log does not continue the checkpoint over {last.size:,} events that was signed last: its past was "
            f"changed, or an older state was restored. {_TOLD}"
        )


def keep(note: str) -> None:
    """Keep a checkpoint that was signed, durably, in place of the one before."""
    path: Path = settings.LAST_CHECKPOINT_FILE
    part = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(note)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)
    sync_folder(path.parent)


def accept_restore(*, actor: Actor, reason: str) -> Path:
    """Let the log go on from an older state: the kept checkpoint goes into an event, whole, and its file aside.

    Returns the file's new name. Raises BadInput without a reason, NotAllowed, Conflict when the log does continue what
    was signed.
    """
    require_entitled(EVENT, actor)
    if not reason.strip():
        raise BadInput("Say why the log goes on from an older state: --reason.")
    path: Path = settings.LAST_CHECKPOINT_FILE
    with signing():
        last, covered = _parsed(), size()
        if last is None or (covered >= last.size and _begins_with(last, covered)):
            raise Conflict(
                "The log continues what was signed last. There is nothing to accept; nothing was changed."
            )
        with transaction.atomic(durable=True):
            record(
                "system:main",
                event=EVENT,
                actor=actor,
                payload={"size": last.size, "root": last.root.hex(), "note": read(), "found": covered},
                reason=reason,
            )
        aside = path.with_name(f"{path.name}.until-{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
        os.replace(path, aside)
        sync_folder(path.parent)
    return aside


def _parsed() -> Parsed | None:
    text = read()
    try:
        return parse_note(text) if text else None
    except BadInput as error:
        raise KeyUnavailable(
            f"{settings.LAST_CHECKPOINT_FILE} holds no checkpoint: {error.sentence} {_TOLD}"
        ) from error


def _begins_with(last: Parsed, covered: int) -> bool:
    try:
        verify_consistency(last.size, covered, consistency(last.size, covered), last.root, root(covered))
    except (BadInput, Damaged):
        return False
    return True
