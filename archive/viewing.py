"""Looking at what is veiled. Each look, download and choice is a verb with its event; serving bytes is in views/files.py."""

from django.db import transaction

from archive import access, custody
from archive.custody import Actor
from archive.models import Case, Item


def look(*, item: Item, actor: Actor) -> None:
    """Record that a person asked to see an item unveiled. Raises NotAllowed."""
    access.require(actor, "view_original", item.case)
    with transaction.atomic(durable=True):
        custody.record(item, event="item.viewed", actor=actor, payload={"original": item.sha256})


def download(*, item: Item, actor: Actor) -> None:
    """Record that a person takes the original file out. Raises NotAllowed."""
    access.require(actor, "download", item.case)
    with transaction.atomic(durable=True):
        custody.record(item, event="item.downloaded", actor=actor, payload={"original": item.sha256})


def show_thumbnails(*, case: Case, actor: Actor) -> None:
    """Record that a person chose to see a case's thumbnails without veil, until they sign out. Raises NotAllowed."""
    access.require(actor, "view_original", case)
    with transaction.atomic(durable=True):
        custody.record(case, event="case.thumbnails_shown", actor=actor)
