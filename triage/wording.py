"""A score's reasons in the reader's language.

Reasons stand in events, so they are kept in one language (`triage.scoring` writes them). Here they are read again for
the screen. What an analyst named stays as it was written; so does a sentence that is not known here.
"""

import re
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop, ngettext

BUILT_IN = (
    gettext_noop("People seen"),
    gettext_noop("Several people in one frame"),
    gettext_noop("Person and knife or bat in one frame"),
    gettext_noop("Vehicle seen"),
    gettext_noop("Person and vehicle in one frame"),
    gettext_noop("Face seen"),
    gettext_noop("Source reliability"),
    gettext_noop("Captured recently"),
)
_WHEN = re.compile(r"(?P<what>.+?)(?: at (?P<at>\d+:\d\d))?\Z")


def reason(line: Mapping[str, Any]) -> SafeString:
    """'criterion: why' as a line for the screen, each part running in its own direction."""
    name, why = line["criterion"], line.get("why", "")
    shown = _(name) if name in BUILT_IN else name
    if not why:
        return format_html("<bdi>{}</bdi>", shown)
    return format_html("<bdi>{}</bdi>: <bdi>{}</bdi>", shown, _why(why))


def _why(why: str) -> str:
    for pattern, words in _SENTENCES:
        if found := pattern.fullmatch(why):
            return words(found)
    found = _WHEN.match(why)
    if found is None or found["at"] is None:
        return why
    return _("%(what)s at %(time)s") % {"what": _what(found["what"]), "time": found["at"]}


def _what(what: str) -> str:
    at_once = re.fullmatch(r"(\d+) at once", what)
    return _at_once(at_once) if at_once else what


def _at_once(found: re.Match[str]) -> str:
    number = int(found[1])
    return ngettext("%(n)d at once", "%(n)d at once", number) % {"n": number}


def _captured(found: re.Match[str]) -> str:
    days = int(found[2])
    words = ngettext(
        "captured %(day)s, %(n)s day before %(other)s", "captured %(day)s, %(n)s days before %(other)s", days
    )
    day, other = (date_format(date.fromisoformat(text), "j M Y") for text in (found[1], found[3]))
    return words % {"day": day, "n": f"{days:,}", "other": other}


_SENTENCES: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
    (
        re.compile("the source's reliability is not stated"),
        lambda _f: _("the source's reliability is not stated"),
    ),
    (
        re.compile("no capture date is claimed or established"),
        lambda _f: _("no capture date is claimed or established"),
    ),
    (re.compile(r"(\d+) of 100"), lambda f: _("%(n)s of 100") % {"n": f[1]}),
    (re.compile(r"captured (\d{4}-\d\d-\d\d), (\d+) days before (\d{4}-\d\d-\d\d)"), _captured),
    (re.compile(r"(\d+) at once"), _at_once),
)
