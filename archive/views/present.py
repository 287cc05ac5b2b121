"""Rows as screens show them: cards, the viewer, claims in words. No rule of the domain lives here."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from fractions import Fraction

from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop, pgettext

from archive import search
from archive.media.storyboard import Board
from archive.models import Blob, Item, Rendition, Words
from archive.models.items import Statement
from archive.views import files, suggestions, veil
from archive.views.suggestions import Box, Full

ICONS = {"image": "image", "video": "film", "audio": "music"}


def with_pictures(items: QuerySet[Item]) -> QuerySet[Item]:
    """Items with all that a card needs, in a fixed number of queries."""
    return items.select_related("case", "decision", "source", "blob").prefetch_related("renditions")


# --- cards ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Card:
    """One item in a list."""

    item: Item
    url: str
    code: str
    name: str
    icon: str
    kind: str
    thumb_url: str = ""
    veil_url: str = ""
    veiled: bool = True
    seconds: float | None = None
    sentence: str = ""
    decision: str = ""
    score: float | None = None
    labels: tuple[str, ...] = ()
    likely: str = ""
    trouble: str = ""
    found: tuple[str, ...] = ()
    found_machine: tuple[str, ...] = ()


def cards(request: HttpRequest, items: Iterable[Item], asked: str = "") -> list[Card]:
    """Cards for one page of items, veiled unless this session chose to see thumbnails; where `asked` was found in each."""
    page = list(items)
    brief = suggestions.source().brief(page)
    where = search.where((item.pk for item in page), asked) if asked else {}
    made = [_card(request, item, brief.get(item.pk, suggestions.Brief())) for item in page]
    return [_with_origins(card, where.get(card.item.pk, [])) for card in made]


def _with_origins(card: Card, origins: list[str]) -> Card:
    words = dict(Words.Origin.choices)
    return replace(
        card,
        found=tuple(str(words[o]) for o in origins if o not in search.BY_MACHINE),
        found_machine=tuple(str(words[o]) for o in origins if o in search.BY_MACHINE),
    )


def _card(request: HttpRequest, item: Item, brief: suggestions.Brief) -> Card:
    made = {} if item.disposed_at else {r.kind: r for r in item.renditions.all()}
    sharp = veil.thumbnails_shown(request, item.case_id) and Rendition.Kind.THUMBNAIL in made
    shown = made.get(Rendition.Kind.THUMBNAIL if sharp else Rendition.Kind.VEIL)
    under = made.get(Rendition.Kind.VEIL)
    return Card(
        item=item,
        url=reverse("item", args=[item.pk]),
        code=item.code,
        name=item.file_name,
        icon="triangle-alert" if is_broken(item) else ICONS.get(item.kind, "file"),
        kind=item.get_kind_display(),
        thumb_url=reverse("rendition", args=[shown.pk]) if shown else "",
        veil_url=reverse("rendition", args=[under.pk]) if under else "",
        veiled=not sharp,
        seconds=item.duration_ms / 1000 if item.duration_ms else None,
        sentence="" if shown else short_reason(item),
        decision=item.decision.get_value_display() if item.decision else "",
        score=brief.score,
        labels=(*brief.labels[:4], *brief.indicators),
        likely=_listed(brief.labels[:3]),
        trouble=_trouble(item),
    )


def _trouble(item: Item) -> str:
    """What is wrong with an original: that its bytes are not what they were comes before that they cannot be shown."""
    if item.disposed_at:
        return ""  # the place of the picture says it
    return bad_fixity(item) or (_condition_only(item) if item.condition not in ("", "ok") else "")


def bad_fixity(item: Item) -> str:
    """That the last check of an original's bytes was not good; empty where it was, or was never made."""
    if item.blob.fixity in (Blob.Fixity.BAD, Blob.Fixity.UNREAD):
        return _("fixity: %(answer)s") % {"answer": item.blob.get_fixity_display()}
    return ""


# --- condition --------------------------------------------------------------------------------------------------

SOUND = ("", "ok", "disguised")


def is_broken(item: Item) -> bool:
    """Whether the file could not be opened as what it is."""
    return item.condition not in (*SOUND, "unsupported")


# A decoder's own name for its fault helps nobody who reads.
_CLASS = re.compile(r"\b[A-Z]\w*(?:Error|Exception|Warning): ")
_NAMED = re.compile(r"The name ends in (?P<ending>\S+), but the content is (?P<type>\S+)")


def condition_words(item: Item) -> str | SafeString:
    """The condition in words; what the examination said stands after it."""
    said = _condition_only(item)
    detail = _CLASS.sub("", item.condition_detail.removeprefix("Decoded only in part: ")).rstrip(".")
    if named := _NAMED.fullmatch(detail):
        detail = _("the name ends in %(ending)s, but the content is %(type)s") % named.groupdict()
    return format_html("{}: <bdi>{}</bdi>", said, detail) if detail else said


def _condition_only(item: Item) -> str:
    words = {
        "": _("not yet examined"),
        "ok": _("complete"),
        "empty": _("empty: no bytes at all"),
        "damaged": _("damaged: decodes in part"),
        "cannot decode": _("cannot decode"),
        "too large to decode": _("too large to decode"),
        "unsupported": _("a kind that we do not open"),
        "disguised": _("disguised: its name says another kind"),
    }
    return str(words.get(item.condition, item.condition))


def no_picture(item: Item) -> str | SafeString:
    """Why there is no picture, for the place where one would be."""
    if item.disposed_at:
        return _("Disposed of. The bytes were destroyed; the history stays.")
    if not item.examined_at:
        return _("Not yet examined. The original is stored; a job will look at it.")
    if item.condition not in SOUND:
        return format_html("{}. {}", condition_words(item), _("The original is kept as it came."))
    if item.kind in (Item.Kind.IMAGE, Item.Kind.VIDEO):
        return _("No picture was made of this file. The original is kept as it came.")
    return _("There is no picture of this kind of file.")


def short_reason(item: Item) -> str:
    """Why a card has no picture, in a few words."""
    if item.disposed_at:
        return _("disposed of")
    if not item.examined_at:
        return _("not yet examined")
    return _condition_only(item) if item.condition not in SOUND else str(item.get_kind_display())


# --- the viewer -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Drawn:
    """A box in the picture's own units."""

    label: str
    said: str
    left: str
    top: str
    wide: str
    high: str
    at_edge: bool
    label_at: str
    label_ends: bool
    at_ms: int | None


@dataclass(frozen=True)
class DrawnLane:
    """A lane in thousandths of the length."""

    label: str
    most: int
    times: str
    words: str
    drawn: list[tuple[float, float]]


@dataclass(frozen=True)
class Viewer:
    """What components/viewer.html draws."""

    kind: str
    can_show: bool
    revealed: bool
    reveal_url: str
    words: str
    width: int = 1000
    height: int = 750
    veil_url: str = ""
    sharp_url: str = ""
    poster_url: str = ""
    storyboard_url: str = ""
    storyboard_s: tuple[float, ...] = ()  # when its frames are
    duration_ms: int = 0
    frame_rate: float = 25.0
    likely: str = ""
    likely_language: str = ""  # of a sentence by a model; else that of its classes
    sentence: str | SafeString = ""
    broken: bool = False
    boxes: list[Drawn] = field(default_factory=list)
    lanes: list[DrawnLane] = field(default_factory=list)
    moments: list[float] = field(default_factory=list)
    shots_json: str = "[]"
    looked_json: str = "[]"

    @property
    def seconds(self) -> float | None:
        """Length in seconds, if it has one."""
        return self.duration_ms / 1000 if self.duration_ms else None


def viewer(request: HttpRequest, item: Item, full: Full, *, notes: Iterable = ()) -> Viewer:
    """The viewer for one item. The address of anything sharp is in it only after a recorded look."""
    made = {} if item.disposed_at else {r.kind: r for r in item.renditions.all()}
    sharp, poster = files.sharp_urls(item)
    can_show = bool(sharp)
    revealed = can_show and veil.is_lifted(request, item)
    board = made.get(Rendition.Kind.STORYBOARD)
    shape = next((made[k] for k in ("view", "poster", "veil") if k in made and made[k].width), None)
    width = item.width or (shape.width if shape else None) or 1000
    height = item.height or (shape.height if shape else None) or 750
    tall = max(1, round(1000 * height / width))
    length = item.duration_ms or 0
    return Viewer(
        kind=item.kind,
        can_show=can_show,
        revealed=revealed,
        reveal_url=reverse("item-reveal", args=[item.pk]),
        words=_("%(kind)s %(code)s, unveiled") % {"kind": item.get_kind_display(), "code": item.code},
        width=1000,
        height=tall,
        veil_url=reverse("rendition", args=[made["veil"].pk]) if "veil" in made else "",
        sharp_url=sharp if revealed else "",
        poster_url=poster if revealed else "",
        storyboard_url=files.storyboard_url(item) if revealed else "",
        storyboard_s=tuple(ms / 1000 for ms in Board.of(board.recipe).at_ms) if board else (),
        duration_ms=length,
        frame_rate=frame_rate(item),
        likely=_listed(full.labels[:5]) or next((one.text for one in full.captions), ""),
        likely_language="" if full.labels else next((one.language for one in full.captions), ""),
        sentence=_why_not(item),
        broken=is_broken(item),
        boxes=[_box(b, tall) for b in full.boxes],
        lanes=[_lane(lane, length) for lane in full.lanes] if length else [],
        moments=[round(n.frame_ms * 1000 / length, 1) for n in notes if n.frame_ms is not None]
        if length
        else [],
        shots_json=json.dumps(list(full.shots_ms)),
        looked_json=json.dumps(list(full.looked_ms)),
    )


def _why_not(item: Item) -> str | SafeString:
    playable = item.kind in (Item.Kind.VIDEO, Item.Kind.AUDIO) and item.disposed_at is None
    if playable and item.examined_at and item.condition in SOUND:
        return _("A copy that browsers can play is still being made.")
    return no_picture(item)


def frame_rate(item: Item) -> float:
    """Frames a second; 25 where the file does not say."""
    try:
        return float(Fraction((item.technical or {}).get("frame_rate") or "25"))
    except (ValueError, ZeroDivisionError):
        return 25.0


RIGHT = 0.75  # labels of boxes that begin further right end with their box


def _box(box: Box, tall: int) -> Drawn:
    return Drawn(
        label=box.label,
        said=f"{box.confidence:.2f}",
        left=f"{box.x * 1000:.1f}",
        top=f"{box.y * tall:.1f}",
        wide=f"{box.width * 1000:.1f}",
        high=f"{box.height * tall:.1f}",
        at_edge=box.y < 0.05,
        label_at=f"{(min(1.0, box.x + box.width) if box.x > RIGHT else box.x) * 1000:.1f}",
        label_ends=box.x > RIGHT,
        at_ms=box.at_ms,
    )


def _listed(labels: Sequence[str]) -> str:
    """Suggestions one after the other, each running in its own direction."""
    return ", ".join(f"\u2068{label}\u2069" for label in labels)


def _lane(lane: suggestions.Lane, length: int) -> DrawnLane:
    drawn = []
    for start, end in lane.spans:
        a, b = start * 1000 / length, max(end, start + length // 250) * 1000 / length
        drawn.append((round(min(a, 996), 1), round(min(b, 1000), 1)))
    spans = ", ".join(f"{s // 1000}–{e // 1000} s" for s, e in lane.spans)
    return DrawnLane(
        label=lane.label,
        most=lane.most,
        times=f"× {lane.most}",
        words=_("%(label)s suggested at %(spans)s") % {"label": lane.label, "spans": spans},
        drawn=drawn,
    )


# --- claims and findings ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Said:
    """One claim or finding in words."""

    words: str
    value: str | SafeString
    no_zone: bool = False
    origin: str = ""
    css: str = ""
    basis: str = ""
    by: str = ""
    at: datetime | None = None


def said(statement: Statement) -> Said:
    """A claim or a finding, ready to be read."""
    no_zone = bool(statement.about == "captured_at" and statement.local_time and not statement.utc_offset)
    return Said(
        words=statement.get_about_display(),
        value=_value(statement),
        no_zone=no_zone and statement.precision not in ("day", "month", "year"),
        origin=getattr(statement, "origin", ""),
        basis=getattr(statement, "basis", ""),
        by=str(getattr(statement, "by", "")),
        at=statement.at,
    )


def _value(statement: Statement) -> str | SafeString:
    if statement.local_time:
        return format_html("<bdi>{}</bdi>{}", _moment(statement), _beside(statement.text))
    if statement.latitude is not None and statement.longitude is not None:
        radius = f" ± {statement.radius_m:,} m" if statement.radius_m else ""
        return format_html(
            '<bdi dir="ltr">{:.4f}, {:.4f}{}</bdi>{}',
            statement.latitude,
            statement.longitude,
            radius,
            _beside(statement.text),
        )
    return format_html("<bdi>{}</bdi>", statement.text) if statement.text else _("unknown")


# What archive/media/claims.py remarks itself: the rest is the file's or an analyst's own words, shown as they are.
REMARKS = (gettext_noop("UTC by the format's rule; many devices write local time here"),)


def _beside(text: str) -> str | SafeString:
    return format_html(" · <bdi>{}</bdi>", _(text) if text in REMARKS else text) if text else ""


def _moment(statement: Statement) -> str:
    try:
        moment = datetime.fromisoformat(statement.local_time)
    except ValueError:
        return statement.local_time
    pattern = {"year": "Y", "month": "M Y", "day": "j M Y"}.get(
        statement.precision, pgettext("day and time", "j M Y, H:i")
    )
    zone = {"": "", "Z": " UTC"}.get(statement.utc_offset, f" UTC{statement.utc_offset}")
    return date_format(moment, pattern) + (zone if "H" in pattern else "")


def agreeing(claims: Iterable[Statement]) -> list[Said]:
    """Claims in words; those that say the same of the same are one line that names all their origins."""
    rows: dict[tuple, Said] = {}
    for claim in claims:
        row = said(claim)
        key = (row.words, row.value, row.no_zone)
        if key in rows and row.origin not in rows[key].origin.split(", "):
            row = replace(row, origin=f"{rows[key].origin}, {row.origin}")
        elif key in rows:
            continue
        rows[key] = row
    return list(rows.values())


def claims_beside(item: Item) -> list[Said]:
    """What the file and its source claim, for the panel beside the picture: unknown is said, not left out."""
    rows = agreeing(
        c for c in item.claims.all() if c.about in ("captured_at", "place", "device", "author", "title")
    )
    about = {row.words for row in rows}
    for name in ("captured_at", "place"):
        label = Statement.About(name).label
        if label not in about:
            rows.append(Said(words=str(label), value=_("unknown"), css="faint"))
    rows.append(Said(words=_("file name"), value=format_html("<bdi>{}</bdi>", item.file_name)))
    rows.append(Said(words=_("source"), value=source_words(item)))
    return rows


def source_words(item: Item) -> str | SafeString:
    """The source's code and what its consent allows."""
    source = item.source
    if source is None:
        return _("unknown")
    allowed = _("courts %(courts)s, public %(public)s") % {
        "courts": source.get_may_go_to_courts_display(),
        "public": source.get_may_be_public_display(),
    }
    return format_html('<bdi dir="ltr">{}</bdi> · {}: {}', source.code, _("consent"), allowed)


def decisions(item: Item) -> list:
    """An item's decisions and withdrawals, the newest first, each knowing whether it is in force."""
    rows = list(item.decisions.select_related("by").order_by("-at", "-pk"))
    for row in rows:
        row.in_force = row.pk == item.decision_id
    return rows


def notes(item: Item) -> list:
    """An item's notes, each knowing its second in a video."""
    rows = list(item.notes.select_related("by"))
    for row in rows:
        row.seconds = row.frame_ms / 1000 if row.frame_ms is not None else None
    return rows
