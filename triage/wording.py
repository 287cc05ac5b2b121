"""A score's reasons in the reader's language.

Reasons stand in events, so they are kept in one language (`triage.scoring` writes them). Here they are read again for
the screen. What an analyst named stays as it was written; so does a sentence that is not known here.
"""

import re
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop, ngettext, pgettext

BUILT_IN = (
    gettext_noop("People seen"),
    gettext_noop("Several people in one frame"),
    gettext_noop("Person and knife or bat in one frame"),
    gettext_noop("Vehicle seen"),
    gettext_noop("Person and vehicle in one frame"),
    gettext_noop("Face seen"),
    gettext_noop("Source reliability"),
    gettext_noop("Captured recently"),
    gettext_noop("Learned"),
    gettext_noop("Waiting"),
    gettext_noop("No model has looked"),
)
SHOWN = gettext_noop("what was shown as an example")
_WHEN = re.compile(r"(?P<what>.+?)(?: at (?P<at>\d+:\d\d))?\Z")


def reason(line: Mapping[str, Any], links: Mapping[int, SafeString] | None = None) -> SafeString:
    """'criterion: why' as a line for the screen, each part running in its own direction.

    `links` leads to the items that a learned part names by their numbers.
    """
    name, why = line["criterion"], line.get("why", "")
    shown = _(name) if name in BUILT_IN else name
    if not why:
        return format_html("<bdi>{}</bdi>", shown)
    alike = [links[number] for number in line.get("items", ()) if links and number in links]
    if line.get("items") is not None and SHOWN in why:
        alike.append(format_html("{}", _(SHOWN)))
    said = _alike(alike, why) if alike else _why(why)
    return format_html("<bdi>{}</bdi>: <bdi>{}</bdi>", shown, said)


def _alike(alike: list[SafeString], why: str) -> SafeString:
    """'looks like A-12 and A-87, to which people said yes'."""
    items = format_html_join(pgettext("between two items", " and "), "{}", ((one,) for one in alike))
    words = _("looks like {items}, to which people said yes")
    if why.endswith("marked no"):
        words = _("looks like {items}, to which people said no")
    return format_html(words, items=items)


def from_to(first_ms: int, last_ms: int) -> str:
    """'12 s to 48 s', or past a minute '0:12 to 1:48': whole seconds, outwards."""
    first, last = first_ms // 1000, -(-last_ms // 1000)
    if last < 60:
        return _("%(first)d s to %(last)d s") % {"first": first, "last": last}
    return _("%(first)s to %(last)s") % {"first": _clock(first), "last": _clock(last)}


def _clock(seconds: int) -> str:
    hours, minutes = seconds // 3600, seconds // 60 % 60
    return f"{hours}:{minutes:02}:{seconds % 60:02}" if hours else f"{minutes}:{seconds % 60:02}"


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
    (re.compile("since it came in"), lambda _f: _("since it came in")),
    (
        re.compile("level with the lowest that one has looked at"),
        lambda _f: _("level with the lowest that one has looked at"),
    ),
    (
        re.compile("nothing to compare it by: the mean of all"),
        lambda _f: _("nothing to compare it by: the mean of all"),
    ),
    (
        re.compile(r"(\d+) followed, (\S+) to (\S+)"),
        lambda f: _("%(n)s followed, %(from)s to %(to)s") % {"n": f[1], "from": f[2], "to": f[3]},
    ),
    (re.compile(r"tagged (.+)"), lambda f: _("tagged %(word)s") % {"word": f[1]}),
    (re.compile(r"read in it: (.+)"), lambda f: _("read in it: %(word)s") % {"word": f[1]}),
    (
        re.compile(r"a model's caption says: (.+)"),
        lambda f: _("a model's caption says: %(word)s") % {"word": f[1]},
    ),
    (re.compile(r"noted: (.+)"), lambda f: _("noted: %(word)s") % {"word": f[1]}),
    (re.compile(r"source (\S+)"), lambda f: _("source %(code)s") % {"code": f[1]}),
    (
        re.compile(r"among the (\S+) % least like the rest"),
        lambda f: _("among the %(n)s %% least like the rest of this case") % {"n": f[1]},
    ),
    (re.compile("established inside the box"), lambda _f: _("established inside the box")),
    (re.compile("claimed inside the box"), lambda _f: _("claimed inside the box")),
    (re.compile(r"established (\S+) km away"), lambda f: _("established %(km)s km away") % {"km": f[1]}),
    (re.compile(r"claimed (\S+) km away"), lambda f: _("claimed %(km)s km away") % {"km": f[1]}),
    (
        re.compile(r"captured (\d{4}-\d\d-\d\d)"),
        lambda f: _("captured %(day)s") % {"day": date_format(date.fromisoformat(f[1]), "j M Y")},
    ),
)
