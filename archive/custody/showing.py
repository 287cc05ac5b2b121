"""Proofs in the forms in which they leave the archive: for the command line and the API."""

import base64
import json

from archive.custody import map, proofs
from archive.custody.anchors import cosigned_note
from archive.custody.tiles import Tiles, root, size
from archive.errors import BadInput, NotFound
from archive.models import Checkpoint, CustodyEvent


def show(what: str, names: list[str], *, at: int | None = None) -> str:
    """A proof as text: `event` POSITION, `history` SUBJECT, `file` SHA256 or `consistency` OLD NEW.

    Raises BadInput for a name that does not fit, NotFound where there is nothing to prove it against.
    """
    wanted = 2 if what == "consistency" else 1
    if len(names) != wanted or (what in ("event", "consistency") and not all(n.isdecimal() for n in names)):
        raise BadInput("Give: event POSITION, history SUBJECT, file SHA256, or consistency OLD NEW.")
    if what == "consistency":
        return _pretty(consistency(int(names[0]), int(names[1])))
    if what == "event":
        position = int(names[0])
        return proofs.tlog_proof(position, cosigned_note(checkpoint(at, covering=position)))
    if what == "history":
        return _pretty(history(names[0], checkpoint(at)))
    digest = names[0].lower()
    if len(digest) != 64 or set(digest) - set("0123456789abcdef"):
        raise BadInput("Name the file by its SHA-256: 64 hex digits, as `sha256sum` prints it.")
    return _pretty(presence(f"file:{digest}", checkpoint(at)))


def _pretty(document: dict) -> str:
    return json.dumps(document, indent=1, sort_keys=True) + "\n"


def checkpoint(of_size: int | None = None, *, covering: int = 0) -> Checkpoint:
    """The checkpoint of a size, else the newest. Raises NotFound when there is none, or it does not reach so far."""
    rows = Checkpoint.objects.exclude(map=None).select_related("map__event")
    row = rows.filter(size=of_size).first() if of_size is not None else rows.first()
    if row is None:
        raise NotFound("There is no such checkpoint. Sign one: manage.py custody checkpoint")
    if row.size <= covering:
        raise NotFound(
            f"That checkpoint covers {row.size} events only. Sign a new one: manage.py custody checkpoint"
        )
    return row


def consistency(old: int, new: int) -> dict:
    """That the log of `new` events continues the log of `old` events."""
    if new > (whole := size()):
        raise NotFound(f"The log has {whole} events in its tree.")
    return {
        "old": old,
        "new": new,
        "old_root": base64.b64encode(root(old)).decode(),
        "new_root": base64.b64encode(root(new)).decode(),
        "proof": [base64.b64encode(value).decode() for value in proofs.consistency(old, new)],
    }


def pinned_map(row: Checkpoint) -> dict:
    """The event that states the map's root, and its inclusion under the checkpoint: docs/bundle.md's map.json."""
    head = row.map
    position = head.event.position.position
    return {
        "event": bytes(head.event.canonical).decode(),
        "position": position,
        "proof": [value.hex() for value in proofs.inclusion(position, row.size)],
    }


def presence(name: str, row: Checkpoint) -> dict:
    """What the map under a checkpoint says of a name: how many events, or that there is none."""
    proof = map.prove(name, row.map)
    return {
        "checkpoint": cosigned_note(row),
        "map": pinned_map(row),
        "speaks_of_events_before_position": row.map.size,
        "entry": map.as_json(proof),
    }


def history(subject: str, row: Checkpoint) -> dict:
    """A subject's whole history under a checkpoint: each event's hash and inclusion, and that there are no more."""
    tiles = Tiles(row.size)
    events = CustodyEvent.objects.filter(subject=subject, position__position__lt=row.map.size).order_by(
        "number"
    )
    return presence(subject, row) | {
        "events": [
            {
                "number": number,
                "event": digest,
                "position": position,
                "proof": [value.hex() for value in proofs.inclusion(position, row.size, tiles=tiles)],
            }
            for number, digest, position in events.values_list("number", "hash", "position__position")
        ]
    }
