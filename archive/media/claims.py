"""What a file says about when, where and with what it was made: claims, each with its origin, never facts.

Local times stay local: a zone is given only where the file gives one, and nothing is converted.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import PurePath
from typing import Any

from archive.media import clean

_NOTE_UTC = "UTC by the format's rule; many devices write local time here"


@dataclass(frozen=True)
class Claim:
    """One statement of the file. `about`: captured_at, place, device, software, author or title."""

    about: str
    origin: str  # exif, xmp, iptc, quicktime, gps, png, riff, matroska, pdf, file name
    text: str = ""  # the device, software, author or title; for a time or place a remark on it, if any
    local_time: str = ""  # ISO 8601 without zone, as precise as `precision` says
    utc_offset: str = ""  # "+03:00", "Z", or "" for no zone
    precision: str = "unknown"  # second, minute, hour, day, month, year, unknown
    latitude: Decimal | None = None
    longitude: Decimal | None = None
    radius_m: int | None = None  # None: not said


def read(*, exif: dict[str, Any], ffprobe: dict[str, Any], file_name: str) -> list[Claim]:
    """All claims, without repetitions of the same origin. Takes metadata that `clean.tree` has bounded."""
    container = clean.mapping(ffprobe.get("format"))
    tags = clean.mapping(container.get("tags"))
    found = [
        *_times(exif),
        *_container_times(tags, exif),
        *_named_time(file_name),
        *_places(exif, tags),
        *_texts(exif, tags),
    ]
    return list(dict.fromkeys(found))[:60]


# ---- when -----------------------------------------------------------------------------------------------------

_TIME = re.compile(
    r"(?P<year>\d{4})(?:[:\-/.](?P<month>\d{1,2})(?:[:\-/.](?P<day>\d{1,2})"
    r"(?:[ T]+(?P<hour>\d{1,2})(?::(?P<minute>\d{2})(?::(?P<second>\d{2})(?P<part>\.\d{1,6})?\d*)?)?)?)?)?"
    r"\s*(?P<zone>Z|UTC|[+\-]\d{2}:?\d{2})?",
    re.ASCII,
)
_PRECISIONS = ("year", "month", "day", "hour", "minute", "second")

# tag: (origin, tag of the zone, tag of the part of a second)
_TIME_TAGS = {
    "EXIF:DateTimeOriginal": ("exif", "EXIF:OffsetTimeOriginal", "EXIF:SubSecTimeOriginal"),
    "EXIF:CreateDate": ("exif digitized", "EXIF:OffsetTimeDigitized", "EXIF:SubSecTimeDigitized"),
    "XMP:DateTimeOriginal": ("xmp", "", ""),
    "XMP:DateCreated": ("xmp", "", ""),
    "XMP:CreateDate": ("xmp", "", ""),
    "PNG:CreationTime": ("png", "", ""),
    "PNG:CreateDate": ("png", "", ""),
    "QuickTime:CreationDate": ("quicktime", "", ""),
    "QuickTime:ContentCreateDate": ("quicktime", "", ""),
    "QuickTime:DateTimeOriginal": ("quicktime", "", ""),
    "RIFF:DateTimeOriginal": ("riff", "", ""),
    "PDF:CreateDate": ("pdf", "", ""),
    "ASF:CreationDate": ("asf", "", ""),
}


def _times(exif: dict[str, Any]) -> Iterator[Claim]:
    for tag, (origin, zone_tag, part_tag) in _TIME_TAGS.items():
        zone = clean.text(exif.get(zone_tag), 10) if zone_tag else ""
        part = clean.text(exif.get(part_tag), 6) if part_tag else ""
        claim = moment(clean.text(exif.get(tag), 60), origin=origin, zone=zone, part=part)
        if claim:
            yield claim
    date, time = clean.text(exif.get("IPTC:DateCreated"), 20), clean.text(exif.get("IPTC:TimeCreated"), 20)
    if claim := moment(f"{date} {time}".strip(), origin="iptc"):
        yield claim
    date, time = clean.text(exif.get("EXIF:GPSDateStamp"), 20), clean.text(exif.get("EXIF:GPSTimeStamp"), 20)
    if (
        date
        and time
        and (claim := moment(f"{date} {time}", origin="gps", zone="Z", text="time of the GPS fix"))
    ):
        yield claim


def _container_times(tags: dict[str, Any], exif: dict[str, Any]) -> Iterator[Claim]:
    apple = moment(clean.text(tags.get("com.apple.quicktime.creationdate"), 60), origin="quicktime")
    if apple:
        yield apple
    for tag in ("QuickTime:CreateDate", "QuickTime:MediaCreateDate"):
        claim = moment(clean.text(exif.get(tag), 60), origin="quicktime", zone="Z", text=_NOTE_UTC)
        if claim and not claim.local_time.startswith(("1904", "1970-01-01")):
            yield claim
            break
    claim = moment(
        clean.text(exif.get("Matroska:DateTimeOriginal"), 60), origin="matroska", zone="Z", text=_NOTE_UTC
    )
    if claim:
        yield claim


def moment(written: str, *, origin: str, zone: str = "", part: str = "", text: str = "") -> Claim | None:
    """A time as written (EXIF, ISO 8601 and their shortened forms), or None where it is none."""
    match = _TIME.fullmatch(written.strip())
    if not match:
        return None
    given = [int(match[name]) for name in _PRECISIONS if match[name] is not None]
    if match["second"] is not None and given[-1] == 60:
        given[-1] = 59
    try:
        year, month, day, hour, minute, second = given + [1, 1, 0, 0, 0][len(given) - 1 :]
        datetime.datetime(year, month, day, hour, minute, second)
    except ValueError:
        return None
    if not 1800 <= given[0] <= 2200:
        return None
    local = "-".join([f"{given[0]:04d}", *(f"{value:02d}" for value in given[1:3])])
    if len(given) > 3:
        local += "T" + ":".join(f"{value:02d}" for value in given[3:])
    if len(given) == 6:
        part = match["part"] or (f".{part}" if part.isascii() and part.isdigit() else "")
        local += part if part.strip(".0") else ""
    stated = match["zone"] or zone
    return Claim(
        about="captured_at",
        origin=origin,
        text=text,
        local_time=local,
        utc_offset=_offset(stated) if len(given) > 3 else "",
        precision=_PRECISIONS[len(given) - 1],
    )


def _offset(zone: str) -> str:
    if zone in ("Z", "UTC"):
        return "Z"
    match = re.fullmatch(r"([+\-])(\d{2}):?(\d{2})", zone, re.ASCII)
    if not match or int(match[2]) > 14 or int(match[3]) > 59:
        return ""
    return f"{match[1]}{match[2]}:{match[3]}"


_NAME_TIME = re.compile(
    r"(?<!\d)(?P<year>19[89]\d|20\d{2})(?P<gap>[-_.]?)(?P<month>0[1-9]|1[0-2])(?P=gap)(?P<day>0[1-9]|[12]\d|3[01])"
    r"(?:(?:[-_. T]+(?:at )?|)(?P<hour>[01]\d|2[0-3])[-_.:hH]?(?P<minute>[0-5]\d)"
    r"(?:[-_.:mM]?(?P<second>[0-5]\d)(?:\d{1,3})?)?)?(?!\d)",
    re.ASCII,
)


def _named_time(file_name: str) -> Iterator[Claim]:
    name = clean.text(PurePath(file_name.replace("\\", "/")).name, 300)
    match = _NAME_TIME.search(name)
    if not match:
        return
    written = f"{match['year']}-{match['month']}-{match['day']}"
    if match["minute"]:
        written += f" {match['hour']}:{match['minute']}" + (f":{match['second']}" if match["second"] else "")
    if claim := moment(written, origin="file name"):
        yield claim


# ---- where ----------------------------------------------------------------------------------------------------

_ISO6709 = re.compile(
    r"(?P<lat>[+\-]\d{1,2}(?:\.\d+)?)(?P<lon>[+\-]\d{1,3}(?:\.\d+)?)(?:[+\-][\d.]+)?/?", re.ASCII
)


def _places(exif: dict[str, Any], tags: dict[str, Any]) -> Iterator[Claim]:
    latitude, longitude = exif.get("EXIF:GPSLatitude"), exif.get("EXIF:GPSLongitude")
    south = clean.text(exif.get("EXIF:GPSLatitudeRef"), 10).upper().startswith("S")
    west = clean.text(exif.get("EXIF:GPSLongitudeRef"), 10).upper().startswith("W")
    radius = clean.number(exif.get("EXIF:GPSHPositioningError"), 0, 10**7)
    yield from place(latitude, longitude, origin="exif", south=south, west=west, radius=radius)
    yield from place(exif.get("XMP:GPSLatitude"), exif.get("XMP:GPSLongitude"), origin="xmp")
    for tag in ("QuickTime:GPSCoordinates", "QuickTime:LocationInformation"):
        parts = clean.text(exif.get(tag), 100).replace(",", " ").split()
        if len(parts) >= 2:
            yield from place(parts[0], parts[1], origin="quicktime")
    for tag in ("com.apple.quicktime.location.ISO6709", "location"):
        match = _ISO6709.match(clean.text(tags.get(tag), 100))
        if match:
            accuracy = clean.number(tags.get("com.apple.quicktime.location.accuracy.horizontal"), 0, 10**7)
            yield from place(match["lat"], match["lon"], origin="quicktime", radius=accuracy)


def place(
    latitude: object,
    longitude: object,
    *,
    origin: str,
    south: bool = False,
    west: bool = False,
    radius: float | None = None,
) -> Iterator[Claim]:
    """One place, if both numbers are degrees on this planet."""
    lat, lon = clean.number(latitude, -90, 90), clean.number(longitude, -180, 180)
    if lat is None or lon is None:
        return
    lat, lon = -abs(lat) if south else lat, -abs(lon) if west else lon
    text = (
        "0, 0: what devices write that do not know where they are"
        if abs(lat) < 1e-6 and abs(lon) < 1e-6
        else ""
    )
    yield Claim(
        about="place",
        origin=origin,
        text=text,
        latitude=Decimal(f"{lat:.6f}"),
        longitude=Decimal(f"{lon:.6f}"),
        radius_m=round(radius) if radius is not None else None,
    )


# ---- with what, by whom ---------------------------------------------------------------------------------------


def _texts(exif: dict[str, Any], tags: dict[str, Any]) -> Iterator[Claim]:
    for group, origin in (("EXIF", "exif"), ("QuickTime", "quicktime"), ("XMP", "xmp"), ("RIFF", "riff")):
        make = clean.text(exif.get(f"{group}:Make"), 200)
        model = clean.text(exif.get(f"{group}:Model"), 200)
        device = model if make and model.lower().startswith(make.lower()) else f"{make} {model}".strip()
        if device:
            yield Claim(about="device", origin=origin, text=device)
    for tag, origin in (
        ("EXIF:Software", "exif"),
        ("XMP:CreatorTool", "xmp"),
        ("QuickTime:Software", "quicktime"),
        ("PNG:Software", "png"),
        ("Matroska:WriterApp", "matroska"),
        ("RIFF:Software", "riff"),
        ("PDF:Producer", "pdf"),
    ):
        if software := clean.text(exif.get(tag), 300):
            yield Claim(about="software", origin=origin, text=software)
    if encoder := clean.text(tags.get("encoder"), 300):
        yield Claim(about="software", origin="container", text=encoder)
    for about, tagged in (
        ("author", (("EXIF:Artist", "exif"), ("XMP:Creator", "xmp"), ("IPTC:By-line", "iptc"), ("PDF:Author", "pdf"))),
        ("title", (("XMP:Title", "xmp"), ("IPTC:Headline", "iptc"), ("QuickTime:Title", "quicktime"),
                   ("PDF:Title", "pdf"))),
    ):  # fmt: skip
        for tag, origin in tagged:
            value = exif.get(tag)
            written = (
                ", ".join(clean.text(entry, 200) for entry in value[:10])
                if isinstance(value, list)
                else value
            )
            if text := clean.text(written, 1000):
                yield Claim(about=about, origin=origin, text=text)
