"""What was missed, in words and as a picture: bounds rounded away from hope, best guesses never quite 0 or 100."""

from dataclasses import dataclass
from math import ceil, floor

from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from archive.templatetags.amparo import ltr
from triage.elusion import Look, Seen
from triage.estimate import Interval, Promise


def percent(share: float, to: str = "nearest") -> SafeString:
    """A share as whole percent: rounded `down` or `up` for bounds; the nearest is never 0 or 100 unless it is just that."""
    points = share * 100
    if to == "nearest":
        whole = round(points)
        whole = min(max(whole, 1 if points > 0 else 0), 99 if points < 100 else 100)
    else:
        whole = floor(points + 1e-9) if to == "down" else ceil(points - 1e-9)
    return ltr(f"{whole}\u00a0%")


def count(number: float) -> SafeString:
    """A whole number for a sentence."""
    return ltr(f"{round(number):,}")


@dataclass(frozen=True)
class Bar:
    """An interval for the picture, in thousandths of the width; `next_low` where more reading would put the bound."""

    low: float
    guess: float
    high: float
    next_low: float | None = None

    @property
    def width(self) -> float:
        """From bound to bound."""
        return round(self.high - self.low, 1)

    @classmethod
    def of(cls, found: Interval, more: Promise | None = None) -> "Bar":
        """The picture of an interval of shares."""
        nearer = round(more.low * 1000, 1) if more and more.low > found.low else None
        return cls(
            round(found.low * 1000, 1), round(found.guess * 1000, 1), round(found.high * 1000, 1), nearer
        )


def seen_words(now: Seen) -> SafeString:
    """How far people have got."""
    return format_html(
        _("People have seen {share}: {seen} of {items} items, and answered yes to {found}."),
        share=percent(now.share, "down"),
        seen=count(now.seen),
        items=count(now.items),
        found=count(now.found),
    )


def found_words(look: Look) -> SafeString:
    """What the sample says of what matters, as bound and best guess."""
    sampled = look.sampled
    if not sampled.found_now:
        left = sampled.left()
        return format_html(
            _("Nobody has answered yes yet. At {level} confidence at most {high} of the {unseen} items that were unseen "
              "at the draw matter; best guess {guess}."),
            level=percent(sampled.level),
            high=count(left.high),
            unseen=count(sampled.unseen),
            guess=count(left.guess),
        )  # fmt: skip
    found = sampled.recall()
    return format_html(
        _("At {level} confidence at least {low} of what matters is found; best guess {guess}."),
        level=percent(sampled.level),
        low=percent(found.low, "down"),
        guess=percent(found.guess),
    )


def more_words(look: Look, more: Promise, *, fresh: bool) -> SafeString:
    """What more reading would buy."""
    rest = len(look.open)
    if fresh:
        text = ngettext(
            "A new sample of {n} random item would narrow this to about {low} at least.",
            "A new sample of {n} random items would narrow this to about {low} at least.",
            more.drawn,
        )
        return format_html(text, n=count(more.drawn), low=percent(more.low, "down"))
    text = ngettext(
        "{n} more random item, the rest of this sample, would narrow this to about {low} at least.",
        "{n} more random items, the rest of this sample, would narrow this to about {low} at least.",
        rest,
    )
    return format_html(text, n=count(rest), low=percent(more.low, "down"))


def remarks(look: Look) -> list[SafeString | str]:
    """What a reader has to know about this sample to take its numbers rightly."""
    sampled, said = look.sampled, []
    if not sampled.done:
        said.append(
            _("The sample is not read to its end: the bounds hold at every look, and are wider until then.")
        )
    if look.ahead:
        text = ngettext(
            "{n} answered item of the sample stands behind one that is not; it counts once that is read.",
            "{n} answered items of the sample stand behind one that is not; they count once that is read.",
            look.ahead,
        )
        said.append(format_html(text, n=count(look.ahead)))
    if sampled.unsure:
        text = ngettext(
            "{n} item of the sample could not be told: it counts for both sides, which widens the bounds.",
            "{n} items of the sample could not be told: they count for both sides, which widens the bounds.",
            sampled.unsure,
        )
        said.append(format_html(text, n=count(sampled.unsure)))
    if sampled.unsettled:
        text = ngettext(
            "{n} item seen before the draw is not settled: for the lower bound it counts as missed.",
            "{n} items seen before the draw are not settled: for the lower bound they count as missed.",
            sampled.unsettled,
        )
        said.append(format_html(text, n=count(sampled.unsettled)))
    if look.since:
        text = ngettext(
            "{n} item came in after the draw; the sample says nothing about it.",
            "{n} items came in after the draw; the sample says nothing about them.",
            look.since,
        )
        said.append(format_html(text, n=count(look.since)))
    return said


BASES = {
    "sample": gettext_lazy(
        "If about {n} of the {unseen} unseen items matter, as the newest sample suggests:"
    ),
    "chances": gettext_lazy(
        "If about {n} of the {unseen} unseen items matter, by the calibrated chances that the order gives them (a "
        "machine suggestion):"
    ),
    "seen": gettext_lazy(
        "If as large a share of the {unseen} unseen items matters as of the seen ones, about {n} (more than is likely "
        "when the order is any good):"
    ),
}


def bounds(found: Interval) -> SafeString:
    """An interval of shares."""
    return format_html(
        _("{low} to {high}, best guess {guess}"),
        low=percent(found.low, "down"),
        high=percent(found.high, "up"),
        guess=percent(found.guess),
    )
