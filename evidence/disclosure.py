"""Which committed values go out with a bundle. What no group names is withheld.

An event holds person data as commitments only; the values lie beside it. A bundle carries every event whole, and the
values of the groups that were chosen. What is withheld verifies all the same. docs/bundle.md lists the groups.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from archive.errors import BadInput

WITHHELD = {"withheld": True}
_STATEMENT = ("text", "local_time", "latitude", "longitude", "basis")


@dataclass(frozen=True)
class Group:
    """Values that are given out or withheld together."""

    words: str | Promise
    by_default: bool
    fields: frozenset[tuple[str, str]]  # (record, field) of a change's "set"


def _fields(**records: tuple[str, ...]) -> frozenset[tuple[str, str]]:
    return frozenset((f"archive.{record}", name) for record, names in records.items() for name in names)


GROUPS: dict[str, Group] = {
    "case": Group(
        _("Title, mandate, retention rule and questions of the case"),
        True,
        _fields(case=("title", "mandate", "retention")) | {("triage.question", "text")},
    ),
    "file_names": Group(_("Names that the files came with"), True, _fields(acquisition=("file_name",))),
    "statements": Group(
        _("What was claimed and what was established: time, place, device, author, basis"),
        True,
        _fields(claim=_STATEMENT, finding=_STATEMENT, item=("condition_detail",)),
    ),
    "reasons": Group(
        _(
            "Reasons that people gave for decisions, postponements and this bundle, for whom it is and on which basis"
        ),
        True,
        _fields(decision=("reason",), postponement=("reason",))
        | {(f"triage.{record}", "reason") for record in ("answer", "secondreading", "secondlook")}
        | {("evidence.bundle", "recipient"), ("evidence.bundle", "basis")},
    ),
    "origins": Group(
        _("Folders and web addresses that files came from"), False, _fields(acquisition=("path", "url"))
    ),
    "notes": Group(_("Working notes and tags"), False, _fields(note=("text",), tag=("name",))),
    "order": Group(
        _("Rules, and where the machine had put what, with its reasons, as those who decided were shown it"),
        False,
        _fields(decision=("shown",))
        | {("triage.answer", "shown"), ("triage.criteria", "rules"), ("triage.criteria", "name")},
    ),
    # No committed value: whole results, withheld by their task (evidence.contents)
    "captions": Group(_("Sentences in which a model described pictures"), False, frozenset()),
    "names": Group(
        _("Names of staff and of those who brought files"),
        False,
        _fields(acquisition=("by",), user=("name", "username"))
        | {("evidence.bundle", "approved_by"), ("evidence.bundle", "recipient_names")},
    ),
}
DEFAULT = tuple(name for name, group in GROUPS.items() if group.by_default)


class Disclosure:
    """A choice of groups."""

    def __init__(self, groups: Iterable[str] = DEFAULT) -> None:
        """Raises BadInput for a group that does not exist."""
        self.groups = tuple(name for name in GROUPS if name in set(groups))
        unknown = set(groups) - set(GROUPS)
        if unknown:
            raise BadInput(f"Unknown group {', '.join(sorted(unknown))}: choose from {', '.join(GROUPS)}.")

    def opens(self, event: dict, pointer: str) -> bool:
        """Whether the value at this place of this event is given out."""
        if pointer == "/actor/name":
            return "names" in self.groups
        if pointer == "/reason":
            return "reasons" in self.groups and event["subject"].startswith(("item:", "bundle:"))
        place = (event["payload"].get("record"), pointer.removeprefix("/payload/set/"))
        return any(place in GROUPS[name].fields for name in self.groups)
