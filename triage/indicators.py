"""Indicators of generated or changed media: what each is called, and what it does and does not mean.

A tag of a task INDICATOR begins with `MARK`, so that wherever it is written (a list, a search, a rule, a bundle) it says what it is.
None says that something is false, and none is ever given for what was not found.
"""

from collections.abc import Mapping
from datetime import date

from django.utils.formats import date_format
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

MARK = "indicator: "
MAY_BE = MARK + "may be "  # begins what a trained one says

GENERATED = MARK + "says it was made by a generator"
PART_GENERATED = MARK + "says a generator made part of it"
NAMES_GENERATOR = MARK + "names a generator"
SAYS_EDITED = MARK + "says it was edited or put together"
NAMES_EDITOR = MARK + "names an editor"
CAPTURED_AFTER_WRITTEN = MARK + "captured after it was last written"
CAPTURED_AFTER_ARRIVAL = MARK + "captured after it came in"
OTHER_THUMBNAIL = MARK + "its thumbnail shows something else"
RECORD_BROKEN = MARK + "C2PA record does not fit the file"
RECORD_UNKNOWN = MARK + "C2PA record fits, signer not known"
RECORD_KNOWN = MARK + "C2PA record fits, signer known"
RECORD_UNREADABLE = MARK + "C2PA record cannot be read"

# What a screen calls each, and what it means and what not. docs/triage.md, "Indicators", says where each is read.
SAID: dict[str, tuple[Promise, Promise]] = {
    GENERATED: (
        _("says it was made by a generator"),
        _(
            "The file itself names a generating model or algorithm as its source. Anybody can write that, and anybody can take it out."
        ),
    ),
    PART_GENERATED: (
        _("says a generator made part of it"),
        _(
            "The file itself says that a part of it was made by a generating model. It does not say which part, nor that the rest is as it was."
        ),
    ),
    NAMES_GENERATOR: (
        _("names a generator"),
        _(
            "A field of the file holds the name or the settings of a program that generates pictures. Such programs also process photographs."
        ),
    ),
    SAYS_EDITED: (
        _("says it was edited or put together"),
        _(
            "The file itself says that it was edited or put together from several. Most edits are harmless: cropping, light, colours."
        ),
    ),
    NAMES_EDITOR: (
        _("names an editor"),
        _(
            "A program for editing wrote this file. Most photographs that are published went through one; it does not say what was changed."
        ),
    ),
    CAPTURED_AFTER_WRITTEN: (
        _("captured after it was last written"),
        _(
            "The time of capture lies more than 26 hours after the time at which the file says it was last written. A clock that was wrong does that, too."
        ),
    ),
    CAPTURED_AFTER_ARRIVAL: (
        _("captured after it came in"),
        _(
            "The time of capture lies more than 26 hours after this archive received the file. A clock that was wrong does that, too."
        ),
    ),
    OTHER_THUMBNAIL: (
        _("its thumbnail shows something else"),
        _(
            "The small preview inside the file differs from the picture. Editing or cropping without renewing the preview does that, and so do some programs."
        ),
    ),
    RECORD_BROKEN: (
        _("C2PA record does not fit the file"),
        _(
            "The file carries a signed record of its making, and a check failed: it was changed after signing, or the record is faulty. Saving it anew with an ordinary program does that."
        ),
    ),
    RECORD_UNKNOWN: (
        _("C2PA record fits, signer not known"),
        _(
            "The file is as its signer signed it. Nobody here vouches for the signer, and a signature does not say that what is shown happened."
        ),
    ),
    RECORD_KNOWN: (
        _("C2PA record fits, signer known"),
        _(
            "The file is as its signer signed it, and the signer's certificate is on this archive's list. That does not say that what is shown happened."
        ),
    ),
    RECORD_UNREADABLE: (
        _("C2PA record cannot be read"),
        _("The file carries a signed record of its making that could not be read. It was not checked."),
    ),
}
TRAINED = _(
    "A classifier that was trained here finds it more like one kind of its training pictures than like the other. On other pictures than those it may be wrong more often than measured."
)
ELSEWHERE = _("An analyser of another package says so. What it rests on is said there.")
NOTHING_FOUND = _("No indicator was found. That does not say that it is authentic: most changes leave none.")


def is_one(label: str) -> bool:
    """Whether a tag is an indicator."""
    return label.startswith(MARK)


def words(label: str) -> str:
    """What a screen calls it, under a heading that says what it is."""
    if label in SAID:
        return str(SAID[label][0])
    if label.startswith(MAY_BE):
        return gettext("may be %(name)s") % {"name": label.removeprefix(MAY_BE)}
    return label.removeprefix(MARK)


def in_a_list(label: str) -> str:
    """What a list calls it, where it stands beside other suggestions."""
    return gettext("Indicator: %(words)s") % {"words": words(label)}


def meaning(label: str) -> str:
    """What it means and what not."""
    if label in SAID:
        return str(SAID[label][1])
    return str(TRAINED if label.startswith(MAY_BE) else ELSEWHERE)


def error(parameters: Mapping[str, str]) -> str:
    """How often a trained one was wrong when it was measured, in words; empty for what measures nothing."""
    if "measured_auc" not in parameters:
        return ""
    return gettext(
        "Measured on %(day)s, on %(n)s pictures left out of its training: AUC %(auc)s (95 %%: %(range)s); of the kind, told so: %(found)s; not of the kind, told so: %(false)s."
    ) % {
        "day": date_format(date.fromisoformat(parameters["measured_on"]), "j M Y"),
        "n": parameters["measured_pictures"],
        "auc": parameters["measured_auc"],
        "range": parameters["measured_auc_interval"],
        "found": parameters["measured_found"],
        "false": parameters["measured_false_alarms"],
    }
