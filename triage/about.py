"""What an analyser is told of an item beside its frames: what the archive read in the file, bounded, in one form.

    {"media_type": "image/jpeg", "kind": "image", "size": 52000, "width": 640, "height": 480, "duration_ms": null,
     "received_at": "2026-11-21T20:04:00+00:00", "tags": {"EXIF:Software": "GIMP 2.10", ...}, "left_out": 0,
     "c2pa": {...}, "thumbnail": {...}}

`tags` are ExifTool's, by group and name, and those of a container as `Container:name`; a fraction is text. docs/media.md says what
`c2pa` and `thumbnail` are. All of it was written by strangers. The same item gives the same bytes until it is examined again,
and their SHA-256 is among the parameters of every analysis that rests on them.
"""

import hashlib
import re
from typing import Any

from archive.custody.canonical import canonical
from archive.media import clean
from archive.models import Item

MOST_CHARACTERS, LONGEST, MOST_IN_A_LIST = 32 * 1024, 300, 20
# What cameras and editors write about the picture; not what ExifTool makes of the pixels, nor makers' own notes
GROUPS = (
    "EXIF", "XMP", "IPTC", "PNG", "JUMBF", "Photoshop", "QuickTime", "RIFF", "Matroska", "GIF", "PDF", "ASF", "Container",
)  # fmt: skip
# No analyser needs to know where it was and who took it, and a hash over it would let guesses be checked
WHO_AND_WHERE = re.compile(
    r"GPS|Location|Coordinates|City|State|Country|Address|Email|Phone|Serial|Owner|Artist|Author|By-?line|Person|Writer|Copyright|Rights|:Creator$",
    re.IGNORECASE,
)


def facts(item: Item) -> dict[str, Any]:
    """What is known of an item from its bytes and its arrival."""
    read = clean.mapping(clean.mapping(item.technical).get("untrusted_metadata"))
    container = clean.mapping(clean.mapping(read.get("ffprobe")).get("format")).get("tags")
    tags = {
        **{name: value for name, value in clean.mapping(read.get("exiftool")).items() if _told(name)},
        **{
            name: value
            for key, value in clean.mapping(container).items()
            if _told(name := f"Container:{key}")
        },
    }
    kept, left = {}, MOST_CHARACTERS
    for name in sorted(tags):
        value = _plain(tags[name])
        size = len(name) + sum(len(str(one)) for one in (value if isinstance(value, list) else [value]))
        if name.isascii() and size <= left:
            kept[name], left = value, left - size
    return {
        "media_type": item.media_type,
        "kind": item.kind,
        "size": item.size,
        "width": item.width,
        "height": item.height,
        "duration_ms": item.duration_ms,
        "received_at": item.received_at.isoformat(timespec="seconds"),
        "tags": kept,
        "left_out": len(tags) - len(kept),
        **{name: _tree(read.get(name)) for name in ("c2pa", "thumbnail") if read.get(name)},
    }


def sha256(told: dict[str, Any]) -> str:
    """SHA-256 of facts in their canonical form, as hex."""
    return hashlib.sha256(canonical(told)).hexdigest()


def _told(name: str) -> bool:
    return name.partition(":")[0] in GROUPS and not WHO_AND_WHERE.search(name)


def _plain(value: Any) -> Any:
    """A text, whole number or truth, or a list of such."""
    if isinstance(value, list):
        return [_plain(one) for one in value[:MOST_IN_A_LIST] if not isinstance(one, list | dict)]
    if value is None or isinstance(value, bool | int):
        return value
    return clean.text(value, LONGEST)


def _tree(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _tree(one) for name, one in value.items() if name.isascii()}
    return value if isinstance(value, str) else _plain(value)
