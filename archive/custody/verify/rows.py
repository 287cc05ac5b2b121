"""Step 10: custody-relevant rows, and the roles that people have, are what their events add up to."""

import contextlib
from collections import defaultdict
from datetime import timedelta
from functools import partial
from typing import Any

from django.apps import apps
from django.contrib.auth.models import Permission
from django.core.exceptions import ValidationError
from django.db.models import Exists, OuterRef
from django.utils import timezone

from archive.custody import erasure
from archive.custody.canonical import plain, timestamp
from archive.custody.verify.openings import WITHHELD, digest
from archive.custody.verify.reader import readable
from archive.custody.verify.report import Report, part, take
from archive.custody.verify.times import earlier
from archive.models import Blob, Item, User
from archive.models.base import Custodial

SKEW = timedelta(minutes=15)  # the clocks of two machines differ


class Rows:
    """Puts together what ranges of events add up to, then compares."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.models = {m._meta.label_lower: m for m in apps.get_models() if issubclass(m, Custodial)}
        self.state: dict[str, dict[str, dict[str, bytes]]] = {label: {} for label in self.models}
        self.roles: dict[str, list[str]] = {}
        self.permissions: dict[str, Any] = {}
        self.fixity: dict[str, list[str]] = {}

    def take(self, told: dict[str, Any]) -> None:
        """The next range's `Fold`."""
        take(self.report, told)
        self.roles |= told["roles"]
        self.permissions |= told["permissions"]
        self.fixity |= told["fixity"]
        for label, records in told["records"].items():
            state = self.state[label]
            for key, (anew, fields) in records.items():
                if anew:
                    state.pop(key, None)
                if fields is not None:
                    state.setdefault(key, {}).update({n: bytes.fromhex(d) for n, d in fields.items()})

    def compare(self, only: str = "") -> None:
        """Compare all rows; those of one subject alone are the ones that its events name."""
        for label, model in self.models.items():
            folded = self.state[label]
            rows = model._base_manager.all()
            if only:
                rows = rows.filter(pk__in=list(folded))
            for row in readable(rows, partial(self._unreadable, label)):
                self.report.rows += 1
                self._compare_row(f"{label} {row.pk}", row, folded.pop(str(row.pk), None))
            for key in folded:
                self.report.add("missing row", f"{label} {key}", "the log says that it exists; it is gone")
        if only in ("", "system:main"):
            with part(self.report, "roles"):
                self._compare_roles()
        if not only:
            with part(self.report, "fixity of originals"):
                self._compare_fixity()
            with part(self.report, "openings that were destroyed"):
                for place, sentence in erasure.faults():
                    self.report.add("unrecorded erasure", place, sentence)

    def _unreadable(self, label: str, key: Any) -> None:
        with contextlib.suppress(ValidationError):
            self.state.get(label, {}).pop(str(apps.get_model(label)._meta.pk.to_python(key)), None)
        self.report.add(
            "altered row", f"{label} {key}", "one of its fields holds what no such field can hold"
        )

    def _compare_roles(self) -> None:
        """Membership of groups is no row of ours, but what it gives is access."""
        held: dict[str, list[str]] = defaultdict(list)
        pairs = User.groups.through.objects.order_by("group__name").values_list("user_id", "group__name")
        for person, role in pairs:
            held[str(person)].append(role)
        for person in held.keys() | self.roles.keys():
            if held.get(person, []) != self.roles.get(person, []):
                self.report.add("altered roles", f"person {person}", "their roles are not what the log says")

        names = {str(key): name for key, name in Permission.objects.values_list("pk", "codename")}
        for key, name in self.permissions.items():
            if names.get(key) != name:
                sentence = "it had this name when it was given, and now has another"
                self.report.add("altered roles", f"permission {name}", sentence)

    def _compare_fixity(self) -> None:
        """What is shown of the last check of stored bytes is what the log tells of it, and none is put off by a later time.

        Of originals: a rendition that is good leaves no event. A check that is asked for anew has no time.
        """
        soon = timestamp(timezone.now() + SKEW)
        originals = Blob.objects.filter(Exists(Item.objects.filter(blob=OuterRef("pk"))))
        for row in readable(originals, partial(self._unreadable, "archive.blob")):
            answer, when = self.fixity.get(row.pk, ("", ""))
            said = timestamp(row.checked_at) if row.checked_at else ""
            never = not row.fixity and not said  # as also when bytes came in anew that had been destroyed
            if not never and (row.fixity != answer or said > earlier(when, -SKEW.total_seconds())):
                sentence = "its fixity, or when that was checked, is not what the log says"
                self.report.add("altered row", f"archive.blob {row.pk}", sentence)
            if timestamp(row.stored_at) > soon:
                self.report.add("altered row", f"archive.blob {row.pk}", "it was stored in the future")

    def _compare_row(self, place: str, row: Any, folded: dict[str, bytes] | None) -> None:
        if folded is None:
            self.report.add("unrecorded row", place, "no event of the log made it")
            return
        for name in (*row.recorded, *row.private):
            column = row._meta.get_field(name)
            value = plain(column.value_from_object(row))
            # A column younger than the row's events holds its default until an event says otherwise.
            stated = folded[name].hex() if name in folded else digest(plain(column.get_default()))
            if stated == WITHHELD and value not in ("", None):
                self.report.add("missing opening", place, f"its field {name} can no longer be compared")
            elif stated not in (digest(value), WITHHELD):
                self.report.add(
                    "altered row", place, f"its field {name} is not what the last event about it says"
                )
