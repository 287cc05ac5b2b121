"""What a redaction says: the draft on the screen and the recipe that a person confirmed. docs/redaction.md has every field.

Shares of the upright picture are text with five decimals, times are whole milliseconds from the recording's start.
"""

from __future__ import annotations

import hashlib
from decimal import Decimal, InvalidOperation
from typing import Any

from django.utils.translation import gettext as _

from archive.custody.canonical import canonical
from archive.errors import BadInput
from archive.models import Item

FORMAT = "amparo-redaction 1"
KINDS, FILLS = ("face", "plate", "other"), ("solid", "mosaic")
SUGGESTED, CONFIRMED, REJECTED = "suggested", "confirmed", "rejected"
SOUNDS = ("keep", "ranges", "mute", "pitch", "remove")
MOST_REGIONS, MOST_KEYS, MOST_RANGES = 500, 2_000, 200
STEP = Decimal("0.00001")
# How far a region is grown beyond its box; why these numbers: docs/redaction.md
GROW = {"percent": 15, "pixels": 16, "grid": 16, "sound_ms": 50}
SEEN_MS = 34  # one frame of a copy made for browsers: as far may what a browser says of a time be from the original's
MOSAIC = {"cells": 6, "noise": 24}


def sha256(document: dict[str, Any]) -> str:
    """SHA-256 of the canonical form, as hex."""
    return hashlib.sha256(canonical(document)).hexdigest()


def has_sound(item: Item) -> bool:
    """Whether there is a sound to decide about."""
    return bool((item.technical or {}).get("has_audio"))


def parse(untrusted: object, *, item: Item, before: dict[str, Any]) -> dict[str, Any]:
    """A draft as the screen sent it, checked and put into its one form. Raises BadInput.

    What a machine suggested is taken from the draft `before`, never from the sender: a suggestion can be confirmed,
    rejected or corrected, and stays a machine's; it cannot be left out.
    """
    sent = _mapping(untrusted)
    listed = sent.get("regions")
    if not isinstance(listed, list) or len(listed) > MOST_REGIONS:
        raise BadInput(_("At most %(most)s boxes. Nothing was saved.") % {"most": MOST_REGIONS})
    suggested = {one["id"]: one["suggestion"] for one in before["regions"] if one.get("suggestion")}
    regions = [_region(one, item, suggested) for one in listed]
    names = [one["id"] for one in regions]
    if len(set(names)) != len(names) or suggested.keys() - set(names):
        raise BadInput(_("This page is out of date. Nothing was saved: load it again."))
    return {"regions": regions, "sound": _sound(sent.get("sound"), item)}


def _region(untrusted: object, item: Item, suggested: dict[str, Any]) -> dict[str, Any]:
    one = _mapping(untrusted)
    name = one.get("id")
    if not isinstance(name, str) or not name.isalnum() or not name.isascii() or not 2 <= len(name) <= 40:
        raise _malformed()
    suggestion = suggested.get(name)
    kind, state = _one_of(one.get("kind"), KINDS), _one_of(one.get("state"), (SUGGESTED, CONFIRMED, REJECTED))
    if suggestion is None and state != CONFIRMED:
        raise _malformed()  # what a person drew is theirs, or it is not there
    fill = "solid" if kind == "plate" else _one_of(one.get("fill"), FILLS)
    timed = item.kind == Item.Kind.VIDEO
    start, end = (_moment(one.get(key), timed) for key in ("from_ms", "to_ms"))
    if start is not None and end is not None and end < start:
        raise BadInput(_("A box ends before it starts. Nothing was saved."))
    sent = one.get("keys")
    if not isinstance(sent, list) or not 1 <= len(sent) <= (MOST_KEYS if timed else 1):
        raise _malformed()
    keys = sorted((_key(key, timed) for key in sent), key=lambda key: key["at_ms"] or 0)
    if len({key["at_ms"] for key in keys}) != len(keys):
        raise _malformed()
    place = {"from_ms": start, "to_ms": end, "keys": keys}
    region = {"id": name, "kind": kind, "fill": fill, "state": state, **place}
    return region | ({"suggestion": suggestion} if suggestion else {})


def _key(untrusted: object, timed: bool) -> dict[str, Any]:
    one = _mapping(untrusted)
    box = one.get("box")
    if not isinstance(box, list) or len(box) != 4:
        raise _malformed()
    x, y, w, h = (_share(value) for value in box)
    x, y = min(x, 1 - STEP), min(y, 1 - STEP)
    w, h = (min(max(size, STEP), 1 - start) for size, start in ((w, x), (h, y)))
    return {"at_ms": _moment(one.get("at_ms"), timed), "box": [str(value) for value in (x, y, w, h)]}


def _share(value: object) -> Decimal:
    if not isinstance(value, str) or len(value) > 20:
        raise _malformed()
    try:
        share = Decimal(value)
    except InvalidOperation as error:
        raise _malformed() from error
    if not share.is_finite() or abs(share) > 10:
        raise _malformed()
    return min(max(share, Decimal(0)), Decimal(1)).quantize(STEP)


def _moment(value: object, timed: bool) -> int | None:
    if not timed:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 10**9:
        raise _malformed()
    return value


def _sound(untrusted: object, item: Item) -> dict[str, Any]:
    """What becomes of the sound; "" while nobody has chosen."""
    if not has_sound(item):
        return {"do": "remove", "ranges": []}
    one = _mapping(untrusted)
    do = one.get("do")
    listed = one.get("ranges")
    if do not in ("", *SOUNDS) or not isinstance(listed, list) or len(listed) > MOST_RANGES:
        raise _malformed()
    ranges = []
    for part in map(_mapping, listed):
        start, end = _moment(part.get("from_ms"), True), _moment(part.get("to_ms"), True)
        if start is None or end is None or end < start:
            raise BadInput(_("A range of the sound ends before it starts. Nothing was saved."))
        ranges.append({"do": _one_of(part.get("do"), ("mute", "pitch")), "from_ms": start, "to_ms": end})
    return {"do": do, "ranges": sorted(ranges, key=lambda part: (part["from_ms"], part["to_ms"]))}


def recipe(draft: dict[str, Any], *, item: Item, redaction: str) -> dict[str, Any]:
    """What is to be rendered: what people confirmed of a draft, and how. Raises BadInput where something is undecided."""
    left = sum(one["state"] == SUGGESTED for one in draft["regions"])
    if left:
        raise BadInput(
            _(
                "%(count)s suggested boxes are neither confirmed nor rejected. Nothing was confirmed: decide on each."
            )
            % {"count": left}
        )
    sound = draft["sound"]
    if not sound["do"] or (sound["do"] == "ranges" and not sound["ranges"]):
        raise BadInput(_("Say what becomes of the sound. Nothing was confirmed."))
    chosen = [one for one in draft["regions"] if one["state"] == CONFIRMED]
    if not chosen and sound["do"] in ("keep", "remove") and not (has_sound(item) and sound["do"] == "remove"):
        raise BadInput(
            _(
                "Nothing is to be covered. Nothing was confirmed: draw a box, or choose what to do with the sound."
            )
        )
    timed = item.kind == Item.Kind.VIDEO
    return {
        "format": FORMAT,
        "item": str(item.pk),
        "redaction": redaction,
        "original_sha256": item.sha256,
        "kind": str(item.kind),
        "regions": [
            {name: one[name] for name in ("id", "kind", "fill", "from_ms", "to_ms", "keys")}
            | {"origin": _origin(one)}
            for one in chosen
        ],
        "rejected_suggestions": len(draft["regions"]) - len(chosen),
        "sound": sound if sound["do"] == "ranges" else {"do": sound["do"], "ranges": []},
        "grow": GROW | {"ms": SEEN_MS if timed else 0},
        "mosaic": MOSAIC,
        "encoding": {"crf": 20, "quality": 92, "side": 12_000},
    }


def _origin(one: dict[str, Any]) -> str:
    """Who says that something is there: a person, or a machine as a person left or corrected it."""
    if "suggestion" not in one:
        return "drawn"
    return "corrected" if is_corrected(one) else "suggested and confirmed"


def is_corrected(one: dict[str, Any]) -> bool:
    """Whether a person changed what a machine suggested."""
    was = one["suggestion"]["as"]
    return any(one[name] != was[name] for name in ("from_ms", "to_ms", "keys"))


def _one_of(value: object, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise _malformed()
    return str(value)


def _mapping(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _malformed()
    return value


def _malformed() -> BadInput:
    return BadInput(_("The boxes did not arrive as this page sends them. Nothing was saved: load it again."))
