"""What a file says about its own making, where it points to a generator, an editor or a contradiction. Rules over what was read, no model.

The lists name what programs write by themselves. Sources: docs/triage.md, "Indicators".
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from triage import indicators
from triage.analysers.base import About, Analyser, FrameBatch, Result, Tag, Task, register

# Last part of the URI in the IPTC's vocabulary of digital source types -> what is said of it
SOURCE_TYPES = {
    "trainedAlgorithmicMedia": indicators.GENERATED,
    "trainedAlgorithmicData": indicators.GENERATED,
    "algorithmicMedia": indicators.GENERATED,
    "compositeWithTrainedAlgorithmicMedia": indicators.PART_GENERATED,
    "compositeSynthetic": indicators.PART_GENERATED,
    "compositeCapture": indicators.SAYS_EDITED,
    "composite": indicators.SAYS_EDITED,
    "humanEdits": indicators.SAYS_EDITED,
    "minorHumanEdits": indicators.SAYS_EDITED,
    "algorithmicallyEnhanced": indicators.SAYS_EDITED,
}
# Fields that generators alone write
GENERATORS_FIELDS = re.compile(
    r"XMP:AI(SystemUsed|SystemVersionUsed|PromptInformation)"
    r"|PNG:(Parameters|Prompt|Workflow|Dream|Sd-?metadata|Invokeai_metadata|Invokeai_graph)"
    r"|Container:(workflow|prompt)",
    re.IGNORECASE,
)
# Fields in which a program writes its own name
PROGRAM_FIELDS = re.compile(
    r"(EXIF|XMP|PNG|QuickTime|RIFF|Matroska|GIF|IPTC|JUMBF|ASF|Container):"
    r"(Software|CreatorTool|HistorySoftwareAgent|ProcessingSoftware|OriginatingProgram|ProgramVersion|Source|Encoder"
    r"|EncodingTool|WritingApp|Claim_Generator|Claim_Generator_InfoName|ActionsSoftwareAgentName|Credit)",
    re.IGNORECASE,
)
GENERATORS = re.compile(
    r"\b(adobe firefly|automatic1111|comfyui|dall[-·. ]?e|dreamstudio|flux\.1|fooocus|gpt-?image|gpt-4o"
    r"|invokeai|leonardo\.ai|made with google ai|midjourney|novelai|openai|sdxl|stability ai|stable[ -]diffusion)\b",
    re.IGNORECASE,
)
EDITORS = re.compile(
    r"\b(adobe (after effects|lightroom|photoshop|premiere)|affinity photo|aurora hdr|canva|capcut|capture one|corel"
    r"|darktable|davinci resolve|facetune|final cut|gimp|imovie|inshot|kdenlive|krita|luminar|meitu|on1 photo"
    r"|paint shop pro|paintshop|paint\.net|photolab|photopea|photoscape|picsart|pixelmator|pixlr|polarr|rawtherapee"
    r"|shotcut|snapseed|vegas pro|vsco)\b",
    re.IGNORECASE,
)
CAPTURED = ("EXIF:DateTimeOriginal", "XMP:DateTimeOriginal", "QuickTime:CreationDate")
WRITTEN = ("EXIF:ModifyDate", "XMP:ModifyDate", "XMP:MetadataDate")
# Two clocks that tell local times of the earth's farthest zones (UTC-12, UTC+14) lie so far apart.
ZONES = timedelta(hours=26)
# Correlation of light and dark under which a thumbnail shows something else: docs/triage.md, "Indicators"
ALIKE = 0.95


@register
class IndicatorMetadata(Analyser):
    """What the file's own metadata and its C2PA record say about its making."""

    name, version, task = "indicator-metadata", 1, Task.INDICATOR
    takes = None
    reads_facts = True
    built_in, licence = "rules over metadata", "AGPL-3.0-or-later"
    classes = tuple(indicators.SAID)
    thresholds = {"thumbnail_correlation": str(ALIKE)}

    def library(self, versions: Mapping[str, str]) -> str:
        """It comes with Amparo."""
        return ""

    def open(self, runtime: Any) -> None:
        """Nothing to load."""
        self.begin(About("image"))

    def begin(self, item: About) -> None:
        """Another item's facts."""
        self.facts = item.facts

    def analyse(self, frames: FrameBatch) -> Sequence[Sequence[Result]]:
        """It looks at no frames."""
        return [[] for _ in frames.pixels]

    def end(self) -> list[Tag]:
        """Each indicator once. It is a rule that applied, not a measurement: the score is 1."""
        tags = self.facts.get("tags", {})
        found = {*_made(tags), *_timed(tags, self.facts.get("received_at", ""))}
        record, small = self.facts.get("c2pa"), self.facts.get("thumbnail")
        if record:
            found |= {*_recorded(record)}
        if small and _unlike(small):
            found.add(indicators.OTHER_THUMBNAIL)
        return [Tag(label, 1.0) for label in self.classes if label in found]


def _texts(value: Any) -> list[str]:
    return [str(one) for one in (value if isinstance(value, list) else [value]) if one not in (None, "")]


def _made(tags: Mapping[str, Any]) -> Iterator[str]:
    """What the fields say of programs and sources."""
    for name, value in tags.items():
        said = _texts(value)
        if name.endswith("DigitalSourceType"):
            yield from _source_types(said)
        elif GENERATORS_FIELDS.fullmatch(name) and said:
            yield indicators.NAMES_GENERATOR
        elif PROGRAM_FIELDS.fullmatch(name):
            if any(GENERATORS.search(text) for text in said):
                yield indicators.NAMES_GENERATOR
            if any(EDITORS.search(text) for text in said):
                yield indicators.NAMES_EDITOR


def _source_types(said: Sequence[str]) -> Iterator[str]:
    for uri in said:
        kind = re.split(r"[/:]", uri.strip())[-1]
        if kind in SOURCE_TYPES:
            yield SOURCE_TYPES[kind]


def _recorded(record: Mapping[str, Any]) -> Iterator[str]:
    """What the C2PA record says, and whether it fits."""
    states = {
        "invalid": indicators.RECORD_BROKEN,
        "valid": indicators.RECORD_UNKNOWN,
        "trusted": indicators.RECORD_KNOWN,
    }
    yield states.get(record.get("state", ""), indicators.RECORD_UNREADABLE)
    yield from _source_types(_texts(record.get("source_types")))
    generators = _texts(record.get("generators"))
    if any(GENERATORS.search(text) for text in generators):
        yield indicators.NAMES_GENERATOR
    if any(EDITORS.search(text) for text in generators):
        yield indicators.NAMES_EDITOR


def _timed(tags: Mapping[str, Any], received: str) -> Iterator[str]:
    """Times that cannot all be right. Without a zone a time may be any zone's."""
    captured = [at for name in CAPTURED if (at := _time(tags.get(name)))]
    written = [at for name in WRITTEN if (at := _time(tags.get(name)))]
    if captured and written and min(captured) > max(written) + ZONES:
        yield indicators.CAPTURED_AFTER_WRITTEN
    arrived = datetime.fromisoformat(received).astimezone(UTC).replace(tzinfo=None) if received else None
    if captured and arrived and min(captured) > arrived + ZONES:
        yield indicators.CAPTURED_AFTER_ARRIVAL


def _time(value: Any) -> datetime | None:
    """A time as EXIF and XMP write it, to the second and without its zone; None for what is none."""
    found = re.match(r"(\d{4})[:-](\d\d)[:-](\d\d)[ T](\d\d):(\d\d)(?::(\d\d))?", str(value or ""))
    if not found:
        return None
    try:
        return datetime(*(int(part or 0) for part in found.groups()))  # type: ignore[arg-type]
    except ValueError:
        return None


def _unlike(small: Mapping[str, Any]) -> bool:
    """Whether the light and dark of a thumbnail is not that of the picture. Two flat ones are not compared."""
    import numpy

    try:
        ours, theirs = (
            numpy.frombuffer(bytes.fromhex(small[name]), numpy.uint8).astype(float)
            for name in ("of_picture", "cells")
        )
    except (KeyError, TypeError, ValueError):  # a stranger's file made it
        return False
    if len(ours) != len(theirs) or not ours.std() or not theirs.std():
        return False
    return float(numpy.corrcoef(ours, theirs)[0, 1]) < ALIKE
