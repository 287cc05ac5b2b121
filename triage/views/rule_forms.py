"""A rule as a form: one set of fields for each kind, both ways between what people type and triage.rules."""

import re
from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from triage import rules, wording

KINDS = {
    "seen": gettext_lazy("is seen"),
    "count": gettext_lazy("how many at once"),
    "together": gettext_lazy("together in one frame"),
    "tracked": gettext_lazy("followed through a video"),
    "tagged": gettext_lazy("is tagged"),
    "written": gettext_lazy("is written in it or in a note"),
    "caption": gettext_lazy("is said by a machine's caption"),
    "from_source": gettext_lazy("comes from a source"),
    "place": gettext_lazy("captured at a place"),
    "captured": gettext_lazy("captured in a span of days"),
    "unusual": gettext_lazy("is unusual in this case"),
    "source": gettext_lazy("source reliability"),
    "recency": gettext_lazy("captured recently"),
}
_PARTS = re.compile(r"[,،]")
_GROUPS = re.compile(r"[;؛]")


def parts(text: str) -> list[str]:
    """Words parted by commas, Arabic ones too."""
    return [one.strip() for one in _PARTS.split(text) if one.strip()]


# field of the form -> the criterion's field that it is, under each kind (without a kind: the same for all)
_TEXT = {"near": "near", "box": "box"}
_LISTS = {"classes": "any_of", "tags": "any_of", "words": "words", "sources": "sources"}
_OF_KIND = {
    "seen": ("classes", "confidence"),
    "count": ("classes", "confidence", "beyond", "at_most"),
    "together": ("groups", "confidence"),
    "tracked": ("classes", "at_least", "seconds"),
    "tagged": ("tags", "by", "confidence"),
    "written": ("words", "where", "confidence"),
    "caption": ("words",),
    "from_source": ("sources",),
    "place": ("near", "km", "box"),
    "captured": ("since", "until"),
    "unusual": ("percent",),
    "source": (),
    "recency": ("days", "as_of"),
}
_NAMES = {"confidence": "from_confidence", "days": "half_life_days", "groups": "all_of"}


class RuleForm(forms.Form):
    """One rule. Which fields count depends on its kind; `criterion` says it as triage.rules has it."""

    name = forms.CharField(label=gettext_lazy("Name"), max_length=120, required=False)
    kind = forms.ChoiceField(
        label=gettext_lazy("It counts what"), choices=list(KINDS.items()), initial="seen"
    )
    points = forms.CharField(label=gettext_lazy("Points"), max_length=12, required=False)
    classes = forms.CharField(label=gettext_lazy("Classes"), required=False)
    groups = forms.CharField(label=gettext_lazy("Groups of classes, parted by ;"), required=False)
    tags = forms.CharField(label=gettext_lazy("Tags"), required=False)
    words = forms.CharField(label=gettext_lazy("Words"), required=False)
    sources = forms.CharField(label=gettext_lazy("Codes of sources"), required=False)
    by = forms.ChoiceField(
        label=gettext_lazy("Put on by"),
        required=False,
        choices=[
            ("", gettext_lazy("either")),
            ("models", gettext_lazy("models")),
            ("people", gettext_lazy("people")),
        ],
    )
    where = forms.ChoiceField(
        label=gettext_lazy("Written where"),
        required=False,
        choices=[
            ("", gettext_lazy("either")),
            ("pictures", gettext_lazy("in the picture")),
            ("notes", gettext_lazy("in a note")),
        ],
    )
    near = forms.CharField(label=gettext_lazy("Near latitude, longitude"), required=False)
    km = forms.CharField(label=gettext_lazy("Within km"), max_length=12, required=False)
    box = forms.CharField(label=gettext_lazy("Or south, west, north, east"), required=False)
    since = forms.DateField(label=gettext_lazy("From"), required=False)
    until = forms.DateField(label=gettext_lazy("To"), required=False)
    beyond = forms.IntegerField(label=gettext_lazy("Beyond the first"), required=False, min_value=0)
    at_most = forms.CharField(label=gettext_lazy("At most, points"), max_length=12, required=False)
    at_least = forms.IntegerField(label=gettext_lazy("At least so many"), required=False, min_value=1)
    seconds = forms.IntegerField(label=gettext_lazy("For so many seconds"), required=False, min_value=0)
    percent = forms.CharField(
        label=gettext_lazy("Among so many percent least like the rest"), max_length=12, required=False
    )
    days = forms.IntegerField(label=gettext_lazy("Half after days"), required=False, min_value=1)
    as_of = forms.DateField(label=gettext_lazy("Counted back from"), required=False)
    confidence = forms.CharField(label=gettext_lazy("From confidence"), max_length=12, required=False)

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        for name in ("since", "until", "as_of"):
            self.fields[name].widget = forms.DateInput({"type": "date"}, format="%Y-%m-%d")
        for name in ("near", "km", "box", "points", "percent", "at_most", "confidence"):
            self.fields[name].widget.attrs |= {"dir": "ltr", "inputmode": "decimal"}
        self.fields["classes"].widget.attrs["list"] = "classes"
        self.fields["tags"].widget.attrs["list"] = "tags"
        self.fields["sources"].widget.attrs["list"] = "sources"

    def of_kinds(self) -> list[tuple[Any, str]]:
        """The fields that only some kinds have, each with the names of those kinds."""
        return [
            (self[name], " ".join(kind for kind, names in _OF_KIND.items() if name in names))
            for name in self.fields
            if name not in ("name", "kind", "points")
        ]

    def summary(self) -> dict[str, Any] | None:
        """The rule in one line; None for one that is not written yet."""
        name = self["name"].value()
        if not name:
            return None
        kind = self["kind"].value() or "seen"
        shown = (
            "classes",
            "groups",
            "tags",
            "words",
            "sources",
            "near",
            "box",
            "since",
            "until",
            "percent",
            "days",
        )
        said = [
            str(self[field].value())
            for field in shown
            if field in _OF_KIND.get(kind, ()) and self[field].value()
        ]
        return {
            "name": _(name) if name in wording.BUILT_IN else name,
            "kind": KINDS.get(kind, kind),
            "what": " – ".join(said),
            "points": self["points"].value() or "–",
        }

    def is_open(self) -> bool:
        """Whether its fields are shown at once: while it is being written."""
        return bool(self.is_bound and (self.errors or self.has_changed()))

    def clean(self) -> dict[str, Any]:
        """Say in its place what a kind of rule cannot do without."""
        given = super().clean()
        if not given.get("name", "").strip():
            return given
        must, _may = rules.FIELDS[given["kind"]]
        needed = {_form_name(field, given["kind"]) for field in must} | {"points"}
        for name in needed & set(self.fields):
            if given.get(name) in (None, "") and name not in self.errors:
                self.add_error(name, _("Needed for this kind of rule."))
        return given

    def criterion(self) -> dict[str, Any] | None:
        """The rule as triage.rules has it; None when it has no name, which takes it out."""
        given = self.cleaned_data
        name, kind = given.get("name", "").strip(), given.get("kind")
        if not name:
            return None
        rule: dict[str, Any] = {
            "name": name,
            "kind": kind,
            "each" if kind == "count" else "weight": given["points"],
        }
        for field in _OF_KIND[kind]:
            if given[field] not in (None, ""):
                rule[_LISTS.get(field) or _NAMES.get(field, field)] = _as_value(field, given[field])
        return rule


def _form_name(field: str, kind: str) -> str:
    back = {name: form for form, name in (*_NAMES.items(), *_LISTS.items())}
    if field in ("weight", "each"):
        return "points"
    if field == "any_of":
        return "tags" if kind == "tagged" else "classes"
    return back.get(field, field)


def _as_value(field: str, given: Any) -> Any:
    if field == "groups":
        return [parts(group) for group in _GROUPS.split(given) if parts(group)]
    if field in _LISTS or field in _TEXT:
        return parts(given)
    return given.isoformat() if hasattr(given, "isoformat") else given


def as_row(criterion: dict[str, Any]) -> dict[str, Any]:
    """A rule as the initial values of a RuleForm."""
    kind = criterion["kind"]
    row = {
        "name": criterion["name"],
        "kind": kind,
        "points": criterion.get("each", criterion.get("weight", "")),
    }
    for field in _OF_KIND[kind]:
        value = criterion.get(_LISTS.get(field) or _NAMES.get(field, field))
        if field == "groups":
            value = "; ".join(", ".join(group) for group in value)
        elif isinstance(value, list):
            value = ", ".join(value)
        row[field] = value
    return row


Rules = forms.formset_factory(RuleForm, extra=1, max_num=rules.MOST_CRITERIA)
