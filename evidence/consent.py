"""Whether what is recorded of a source lets its material go where a bundle goes. docs/bundle.md has the table."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from django.db import models
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from archive.errors import BadInput
from archive.models import Acquisition, Item, Source
from evidence.models import Bundle

CHUNK = 500
YES, NO = Source.Answer.YES, Source.Answer.NO
INTERNAL, PARTNER, COURT, PUBLIC = (
    Bundle.Destination.INTERNAL,
    Bundle.Destination.PARTNER,
    Bundle.Destination.COURT,
    Bundle.Destination.PUBLIC,
)


@dataclass(frozen=True)
class Rule:
    """What stands against giving a source's material out, and where to."""

    words: str | Promise
    destinations: frozenset[str]
    broken: Callable[[Source, date], bool]


RULES: dict[str, Rule] = {
    "refused": Rule(
        _("informed consent was refused"),
        frozenset({PARTNER, COURT, PUBLIC}),
        lambda s, today: s.consent_informed == NO,
    ),
    "ended": Rule(
        _("the consent has ended"),
        frozenset({INTERNAL, PARTNER, COURT, PUBLIC}),
        lambda s, today: s.consent_ends is not None and s.consent_ends < today,
    ),
    "no_basis": Rule(
        _("neither informed consent nor a legal basis is recorded"),
        frozenset({INTERNAL, PARTNER, COURT, PUBLIC}),
        lambda s, today: s.consent_informed != YES and not s.legal_basis.strip(),
    ),
    "not_for_courts": Rule(
        _("it is not recorded that it may be handed to courts"),
        frozenset({COURT}),
        lambda s, today: s.may_go_to_courts != YES,
    ),
    "not_public": Rule(
        _("it is not recorded that it may be shown in public"),
        frozenset({PUBLIC}),
        lambda s, today: s.may_be_public != YES,
    ),
}


@dataclass(frozen=True)
class Conflict:
    """A source, and the codes of the rules that stand against giving its material out."""

    source: Source
    rules: tuple[str, ...]

    @property
    def words(self) -> list[str]:
        """What stands against it, in words."""
        return [str(RULES[rule].words) for rule in self.rules]

    @property
    def stated(self) -> tuple[str, tuple[str, ...]]:
        """What somebody who saw the conflict has seen."""
        return str(self.source.pk), self.rules


@dataclass(frozen=True)
class Looked:
    """What was found of some items' sources."""

    conflicts: tuple[Conflict, ...]
    sources: int
    without_source: int  # items of which no source is recorded


class ConsentConflict(BadInput):
    """Raised where an export would go against a source's consent."""

    code = "consent-conflict"

    def __init__(self, looked: Looked) -> None:
        names = "; ".join(f"{c.source.code}: {', '.join(c.words)}" for c in looked.conflicts[:20])
        more = f"; and {len(looked.conflicts) - 20} more" if len(looked.conflicts) > 20 else ""
        super().__init__(
            f"What is recorded of {len(looked.conflicts)} of {looked.sources} sources stands against this destination "
            f"({names}{more}). Nothing was exported: leave these items out, record the consent, or override it by name "
            "with a reason."
        )
        self.looked = looked


def look(items: Iterable[UUID], destination: str) -> Looked:
    """Hold what is recorded of every source of these items against a destination."""
    sources: set = set()
    without = 0
    for chunk in _chunks(items):
        own = dict(Item.objects.filter(pk__in=chunk).values_list("pk", "source_id"))
        brought = Acquisition.objects.filter(item_id__in=chunk).exclude(source=None)
        named = set(brought.values_list("item_id", "source_id"))
        sources |= {source for source in own.values() if source} | {source for _, source in named}
        without += sum(1 for source in own.values() if source is None) - len(
            {item for item, _ in named if own[item] is None}
        )
    return Looked(
        tuple(_conflicts(Source.objects.filter(pk__in=sources), destination)), len(sources), without
    )


def require(bundle: Bundle) -> None:
    """Raise ConsentConflict where consent stands against a bundle by now, and nobody has overridden just that."""
    looked = look(
        bundle.entries.order_by("pk").values_list("item_id", flat=True).iterator(), bundle.destination
    )
    seen = {str(row.source_id): set(row.conflicts) for row in bundle.overrides.all()}
    new = [c for c in looked.conflicts if set(c.rules) - seen.get(str(c.source.pk), set())]
    if new:
        raise ConsentConflict(Looked(tuple(new), looked.sources, looked.without_source))


def _conflicts(sources: "models.QuerySet[Source]", destination: str) -> Iterator[Conflict]:
    today = timezone.localdate()
    for source in sources.order_by("code"):
        rules = tuple(
            code
            for code, rule in RULES.items()
            if destination in rule.destinations and rule.broken(source, today)
        )
        if rules:
            yield Conflict(source, rules)


def _chunks(items: Iterable[UUID]) -> Iterator[list[UUID]]:
    chunk: list[UUID] = []
    for item in items:
        chunk.append(item)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
