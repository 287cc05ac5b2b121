"""Looking at what is veiled. Each look, download and choice is a verb with its event; serving bytes is in views/files.py."""

from django.db import transaction

from archive import access, custody
from archive.custody import Actor
from archive.errors import Disposed
from archive.models import Case, Item, Source


def require_held(item: Item) -> None:
    """Raise Disposed where the item's bytes are no longer there to be seen."""
    if item.disposed_at is not None:
        raise Disposed(
            f"Item {item.code} was disposed of on {item.disposed_at:%Y-%m-%d}: its bytes were destroyed. Its history "
            "and the certificate are on its page."
        )


def look(*, item: Item, actor: Actor) -> None:
    """Record that a person asked to see an item unveiled. Raises NotAllowed, Disposed."""
    access.require(actor, "view_original", item.case)
    require_held(item)
    with transaction.atomic(durable=True):
        custody.record(item, event="item.viewed", actor=actor, payload={"original": item.sha256})


def download(*, item: Item, actor: Actor) -> None:
    """Record that a person takes the original file out. Raises NotAllowed, Disposed."""
    access.require(actor, "download", item.case)
    require_held(item)
    with transaction.atomic(durable=True):
        custody.record(item, event="item.downloaded", actor=actor, payload={"original": item.sha256})


def show_thumbnails(*, case: Case, actor: Actor) -> None:
    """Record that a person chose to see a case's thumbnails without veil, until they sign out. Raises NotAllowed."""
    access.require(actor, "view_original", case)
    with transaction.atomic(durable=True):
        custody.record(case, event="case.thumbnails_shown", actor=actor)


def read_log(*, subject: "Case | Item | Source", actor: Actor) -> None:
    """Record that a person reads a chain of the custody log. Raises NotAllowed.

    A door calls it once for each chain, session and hour (archive/views/reading.py): else reading would fill the log.
    """
    access.require(actor, "read_log", subject if isinstance(subject, Case) else subject.case)
    kind = subject.custody_subject().partition(":")[0]
    with transaction.atomic(durable=True):
        custody.record(subject, event=f"{kind}.log_read", actor=actor)
