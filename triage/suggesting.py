"""What this floor offers to the archive's screens: suggestions for cards, panels, filters. See archive.views.suggestions."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from uuid import UUID

from django.db.models import Count, QuerySet
from django.urls import reverse
from django.utils.text import Truncator
from django.utils.translation import gettext as _

from archive.models import Case, Item
from archive.views import suggestions
from archive.views.suggestions import Box, Brief, Class, Full, Indicator, Model, Read, Reason
from triage import indicators, phrases, queue, registry, standing, timeline, unusual, wording
from triage.models import (
    Analysis,
    Caption,
    CaseAnalysis,
    Detection,
    Question,
    ReadText,
    Seen,
    Shot,
    Standing,
    Tagged,
)
from triage.timeline import Objects

MOST_BOXES = 4000
MOST_LANES = 5
MOST_READ = 30
LABEL = 24  # signs of a line of words at its box
BOXED = (Analysis.Task.DETECT, Analysis.Task.FACE)


class Offer:
    """Suggestions out of this floor's tables."""

    def brief(self, items: Iterable[Item]) -> dict[UUID, Brief]:
        """Score and classes for the cards of one page, in as many queries however many cards."""
        items = list(items)
        ids = [item.pk for item in items]
        videos = [item.pk for item in items if item.kind == Item.Kind.VIDEO]
        followed = timeline.objects(timeline.counting(videos)) if videos else {}
        labels: dict[UUID, list[str]] = defaultdict(list)
        told: dict[UUID, list[str]] = defaultdict(list)
        for item, label, most in Seen.objects.filter(item_id__in=ids).values_list(
            "item_id", "label", "most_at_once"
        ):
            if indicators.is_one(label):
                told[item].append(indicators.in_a_list(label))
            else:
                labels[item].append(_said(label, most, followed.get(item, {}).get(label)))
        stood = unusual.counted(Standing.objects.filter(item__in=ids, question=Question.MAIN))
        rows = {row.item_id: row for row in stood}
        return {pk: Brief(score_of(rows.get(pk)), tuple(labels[pk]), tuple(told[pk])) for pk in ids}

    def full(self, item: Item) -> Full:
        """Boxes, lanes, models and reasons of one item."""
        analyses = standing.current_analyses([item.pk]).get(item.pk, {})
        (row,), compared = unusual.counted([queue.stands(item)]), unusual.share(item)
        found = list(
            Detection.objects.filter(analysis__in=[a.pk for a in analyses.values()]).order_by(
                "at_ms", "-confidence"
            )[:MOST_BOXES]
        )
        timed = item.kind == Item.Kind.VIDEO
        words = _words(analyses.values())
        read, captions = _read(words, timed), _captions(analyses.values(), timed)
        lanes = timeline.lanes(found, list(analyses.values())) if timed else []
        looked = (a.looked_at_ms for a in analyses.values() if timed and a.task in BOXED)
        followed = timeline.objects({a.pk: item.pk for a in analyses.values()}).get(item.pk, {})
        cuts = Shot.objects.filter(item=item).values_list("first_ms", flat=True)
        every = list(item.seen.all())
        seen = [one for one in every if not indicators.is_one(one.label)]
        told = _indicators(analyses.values())
        spans = {lane.label: lane.spans for lane in lanes}
        return Full(
            score=score_of(row),
            labels=tuple(_said(s.label, s.most_at_once, followed.get(s.label)) for s in seen),
            chips=tuple(_chip(s, spans.get(s.label, ()), followed.get(s.label)) for s in seen),
            boxes=[
                *(_box(d, d.label, timed) for d in found),
                *(_box(w, _quoted(w.text), timed) for w in words),
            ],
            read=read[:MOST_READ],
            read_more=max(0, len(read) - MOST_READ),
            captions=captions,
            lanes=lanes[:MOST_LANES],
            models=_models([*analyses.values(), *([compared.by] if compared else [])]),
            indicators=told,
            no_indicator="" if told or not _asked(analyses.values()) else str(indicators.NOTHING_FOUND),
            reasons=reasons_of(row),
            shots_ms=sorted({*cuts, *(start for lane in lanes for start, _end in lane.spans)}),
            state=_state(row, bool(analyses), bool(read or captions)),
            notice=registry.notice(),
            looked_ms=sorted(set().union(*looked)),
            unusual=unusual_words(compared),
            similar_url=_similar_url(item, analyses.values()),
        )

    def classes(self, case: Case, among: QuerySet[Item] | None = None) -> list[Class]:
        """Suggested classes of a case (among some of its items), the most frequent first."""
        if among is None:
            return [Class(label, number) for label, number in queue.classes(case)]
        rows = Seen.objects.filter(case=case, item__in=among.order_by().values("pk")).order_by()
        counted = rows.values_list("label").annotate(n=Count("pk")).order_by("-n", "label")
        return [Class(label, number) for label, number in counted]

    def having(self, items: QuerySet[Item], label: str) -> QuerySet[Item]:
        """Items in which a class is suggested now."""
        return items.filter(seen__label=label)

    def words_url(self, case: Case) -> str:
        """The screen for words, where a text tower is installed."""
        return reverse("words", args=[case.code]) if phrases.towers() else ""


def score_of(row: Standing | None) -> float | None:
    """An item's score in points, if it has one."""
    return float(row.value) if row is not None and row.value is not None else None


def reasons_of(row: Standing) -> list[Reason]:
    """'criterion: contribution', with bars measured against the weightiest."""
    most = max((abs(float(r["contribution"])) for r in row.reasons), default=0.0) or 1.0
    return [
        Reason(
            words=wording.reason(r),
            contribution=float(r["contribution"]),
            share=abs(float(r["contribution"])) / most,
            machine=bool(r["machine"]),
        )
        for r in row.reasons
    ]


def unusual_words(compared: "unusual.Unusual | None") -> str:
    """How unlike the rest of its case an item is; empty where it was not compared."""
    if compared is None:
        return ""
    return _("less like this case than %(n)s %% of its items") % {"n": compared.beyond}


def _models(analyses: Iterable[Analysis | CaseAnalysis]) -> list[Model]:
    """Each model once, with what it was asked for and the version of the analyser that asked."""
    tasks: dict[tuple[str, str], list[str]] = defaultdict(list)
    for one in analyses:
        words = _("%(task)s (version %(n)s)") % {"task": one.get_task_display(), "n": one.version}
        tasks[one.model, getattr(one, "weights_sha256", "")].append(words)
    return [Model(name, weights, _(", ").join(said)) for (name, weights), said in sorted(tasks.items())]


def _asked(analyses: Iterable[Analysis]) -> list[Analysis]:
    return [one for one in analyses if one.task == Analysis.Task.INDICATOR]


def _indicators(analyses: Iterable[Analysis]) -> list[Indicator]:
    """What analysers of that task say, each with its own name, version and model, and with the error that was measured."""
    by = {one.pk: one for one in _asked(analyses)}
    found = Tagged.objects.filter(analysis__in=list(by)).order_by("analysis_id", "pk")
    return [_indicator(tag, by[tag.analysis_id]) for tag in found]


def _indicator(tag: Tagged, analysis: Analysis) -> Indicator:
    error = indicators.error(analysis.parameters)
    if error:  # a rule that applied has no confidence
        chance = _("Chance among its training pictures (calibrated on them): %(n)s.") % {
            "n": f"{tag.confidence:.2f}"
        }
        error = f"{chance} {error}"
    words, meaning = indicators.words(tag.label), indicators.meaning(tag.label)
    return Indicator(words, meaning, analysis.analyser, analysis.version, analysis.model, error)


def _similar_url(item: Item, analyses: Iterable[Analysis]) -> str:
    compared = any(analysis.task == Analysis.Task.EMBED for analysis in analyses)
    return reverse("similar", args=[item.pk]) if compared and item.disposed_at is None else ""


def _state(row: Standing, analysed: bool, read: bool) -> str:
    if read and not row.why_unscored:
        return ""
    if analysed and not row.why_unscored:
        return _("A model has looked and suggests nothing.")
    return _(row.why_unscored) if row.why_unscored else ""


def _times(label: str, most: int) -> str:
    return f"{label}\u00a0×\u00a0{most}" if most > 1 else label


def _said(label: str, most: int, followed: Objects | None) -> str:
    """A class as lists name it: how many of it were followed and when, else the most at once."""
    if followed is None:
        return _times(label, most)
    when = wording.from_to(followed.first_ms, followed.last_ms)
    return f"{_times(label, followed.number)}, {when}"


def _chip(seen: Seen, spans: Sequence[tuple[int, int]], followed: Objects | None) -> str:
    if followed is None and spans:
        followed = Objects(seen.most_at_once, spans[0][0], spans[-1][1])
    return f"{_said(seen.label, seen.most_at_once, followed)} · {seen.confidence:.2f}"


def _words(analyses: Iterable[Analysis]) -> list[ReadText]:
    rows = ReadText.objects.filter(analysis__in=[one.pk for one in analyses]).select_related("analysis")
    return list(rows.order_by("analysis_id", "at_ms", "pk")[:MOST_BOXES])


def _read(words: Iterable[ReadText], timed: bool) -> list[Read]:
    """Each text of an engine once, in the order of its first frame, with the highest confidence that it was read with."""
    found: dict[tuple[str, str], Read] = {}
    for row in words:
        who = _who(row.analysis)
        known = found.get((who, row.text))
        at_s = known.at_s if known else row.at_ms / 1000 if timed else None
        most = max(float(row.confidence), known.confidence if known else 0.0)
        found[who, row.text] = Read(row.text, most, who, at_s)
    return list(found.values())


def _who(analysis: Analysis) -> str:
    """Model, what ran it, and the analyser's version."""
    return _("%(model)s, %(engine)s, version %(n)s") % {
        "model": analysis.model,
        "engine": analysis.parameters.get("library", analysis.analyser),
        "n": analysis.version,
    }


def _captions(analyses: Iterable[Analysis], timed: bool) -> list[suggestions.Caption]:
    """Every model's sentences, in the order of their frames."""
    rows = Caption.objects.filter(analysis__in=[one.pk for one in analyses]).select_related("analysis")
    return [
        suggestions.Caption(
            row.text,
            row.analysis.parameters["language"],
            float(row.confidence),
            _who(row.analysis),
            row.at_ms / 1000 if timed else None,
        )
        for row in rows.order_by("analysis_id", "at_ms", "pk")
    ]


def _quoted(text: str) -> str:
    """The beginning of a line, apart from the direction of what stands beside it."""
    return f"\u2068“{Truncator(text).chars(LABEL)}”\u2069"


def _box(found: Detection | ReadText, label: str, timed: bool) -> Box:
    return Box(
        label=label,
        confidence=float(found.confidence),
        x=float(found.x),
        y=float(found.y),
        width=float(found.width),
        height=float(found.height),
        at_ms=found.at_ms if timed else None,
    )
