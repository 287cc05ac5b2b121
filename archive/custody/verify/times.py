"""Step 7, and the moments that events and columns tell of: texts, which sort as the moments follow each other."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from archive.custody.verify.reader import Row
from archive.custody.verify.report import Found

_TIMES = re.compile(r"(?:\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z\n)*", re.ASCII)


_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)  # from which PostgreSQL counts microseconds
_FIRST, _LAST = (
    (moment.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
    for moment in (datetime.min, datetime.max)
)


class Span(NamedTuple):
    """When the events from a position on may have happened, by what others confirmed: texts, empty for no limit."""

    start: int
    earliest: str
    latest: str


class Times:
    """Step 7: the clock did not run backwards, and nobody outside saw events before or after they say."""

    def __init__(self, found: Found, spans: list[Span], tolerance_s: int) -> None:
        self.found, self.spans, self.tolerance_s = found, spans, tolerance_s
        self.newest, self.oldest = "", ["", ""]  # time; time and place

    def take(self, times: list[str], rows: list[tuple]) -> None:
        """Look at the times of events in their order, all at once where all are within limits."""
        known = [time for time in times if time]
        if not known:
            return
        low, high = min(known), max(known)
        if not self.oldest[0] or low < self.oldest[0]:
            self.oldest = [low, Row(*rows[times.index(low)]).place]
        if low < earlier(max(self.newest, high), self.tolerance_s):
            self._backwards(times, rows)
        self.newest = max(self.newest, high)
        if any((s.earliest and low < s.earliest) or (s.latest and high > s.latest) for s in self.spans):
            self._outside(times, rows)

    def _backwards(self, times: list[str], rows: list[tuple]) -> None:
        import numpy as np

        there = [at for at, time in enumerate(times) if time]
        moments = np.array([times[at] for at in there], "S26").astype("M8[us]")  # without the Z
        newest = np.maximum.accumulate(moments)
        if self.newest:
            newest = np.maximum(newest, np.datetime64(self.newest[:26]))
        for late in np.flatnonzero(newest - moments > np.timedelta64(self.tolerance_s, "s")).tolist():
            at = there[late]
            self.found.add(
                "clock ran backwards", Row(*rows[at]).place, backwards(times[at], f"{newest[late]}Z")
            )

    def _outside(self, times: list[str], rows: list[tuple]) -> None:
        at = 0
        for time, row in zip(times, rows, strict=True):
            while at + 1 < len(self.spans) and self.spans[at + 1].start <= row[0]:
                at += 1
            judge_time(self.found, self.spans[at], time, row)


def judge_time(found: Found, span: Span, time: str, row: tuple) -> None:
    """Compare one event's time with what was confirmed outside."""
    if time and span.earliest and time < span.earliest:
        found.add(
            "back-dated event",
            Row(*row).place,
            f"it says {time}, and is not in a checkpoint that was confirmed outside after {span.earliest}",
        )
    if time and span.latest and time > span.latest:
        found.add(
            "event from the future",
            Row(*row).place,
            f"it says {time}, and is in a checkpoint that was confirmed outside before {span.latest}",
        )


def backwards(time: str, newest: str) -> str:
    """The sentence of a clock that ran backwards."""
    return f"it says {time}, and an event before it says {newest}"


def earlier(time: str, seconds: float) -> str:
    """A time of an event, moved back. Empty for what is no time."""
    try:
        return _written(datetime.fromisoformat(time) - timedelta(seconds=seconds))
    except (ValueError, OverflowError):
        return ""


def are_times(times: list[str]) -> bool:
    """Whether these are moments as events write them, which sort as they follow each other. Empty ones are passed over."""
    try:
        known = [time for time in times if time]
        return _TIMES.fullmatch("\n".join([*known, ""])) is not None and all(
            map(datetime.fromisoformat, known)
        )
    except (ValueError, TypeError):
        return False


def of_columns(stored: Sequence[Any]) -> tuple[list[str], bool]:
    """Stored times as events write them, and whether all of them are moments."""
    if set(map(type, stored)) == {int}:
        import numpy as np

        moments = np.datetime64("2000-01-01") + np.array(stored, dtype="m8[us]")
        return np.datetime_as_string(moments, timezone="UTC").tolist(), _FIRST <= min(stored) <= max(
            stored
        ) <= _LAST
    try:
        times = [_of_column(at) for at in stored]
    except (TypeError, AttributeError):
        return [""] * len(stored), False
    return times, all(times) and are_times(times)


def _of_column(at: str) -> str:
    if len(at) == 26:  # else its fraction is zero, and left out
        return f"{at[:10]}T{at[11:]}Z"
    return as_event(at)


def as_event(stored: Any) -> str:
    """A stored time as events write it; what is no time stays as it is."""
    try:
        if type(stored) is int:
            return _written(_EPOCH + timedelta(microseconds=stored))
        return _written(datetime.fromisoformat(stored))
    except (ValueError, TypeError, OverflowError):
        return str(stored)


def _written(moment: datetime) -> str:
    return (
        moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        if moment.tzinfo
        else f"{moment.isoformat(timespec='microseconds')}Z"
    )
