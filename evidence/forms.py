"""What a person says when they ask for a bundle, and when they hand one on."""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from archive.errors import BadInput
from evidence import terms
from evidence.disclosure import DEFAULT, GROUPS
from evidence.models import Bundle

VOLUMES = (
    ("0", _("one file, however large")),
    ("650MiB", _("650 MiB, a CD")),
    ("4000MiB", _("4 GB, a FAT drive or a DVD")),
    ("24GiB", _("24 GiB, a Blu-ray disc")),
    ("100GiB", _("100 GiB")),
    ("1TiB", _("1 TiB")),
)


class BundleForm(forms.Form):
    """Which items, for whom and under which mandate, what is given out, and why."""

    items = forms.CharField(
        label=_("Items"),
        required=False,
        max_length=200_000,
        widget=forms.Textarea(attrs={"rows": 2, "dir": "ltr"}),
        help_text=_("Numbers as in 1, 4, 20-25. Empty: every item of the case."),
    )
    destination = forms.ChoiceField(
        label=_("Destination"),
        choices=Bundle.Destination.choices,
        initial=Bundle.Destination.INTERNAL,
        required=False,
        help_text=_("The consent and legal basis of every source are held against it."),
    )
    recipient = forms.CharField(
        label=_("Recipient"),
        required=False,
        max_length=400,
        help_text=_("Goes into the register of disclosures."),
    )
    basis = forms.CharField(
        label=_("Mandate or legal basis"),
        required=False,
        max_length=1000,
        help_text=_("Under which they get it: an order, a request with its number, an agreement."),
    )
    approved_by = forms.CharField(label=_("Approved by"), required=False, max_length=400)
    reason = forms.CharField(
        label=_("Why"),
        max_length=1000,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text=_("Goes into the custody log, and into the bundle where reasons are given out."),
    )
    files = forms.ChoiceField(
        label=_("Files"), choices=Bundle.Files.choices, initial=Bundle.Files.ORIGINALS, required=False
    )
    pictures = forms.BooleanField(
        label=_("Pictures in the report"),
        required=False,
        initial=True,
        help_text=_("Small copies; of a video, frames spread over its length."),
    )
    disclosed = forms.MultipleChoiceField(
        label=_("Give out"),
        required=False,
        choices=[(name, group.words) for name, group in GROUPS.items()],
        initial=list(DEFAULT),
        widget=forms.CheckboxSelectMultiple,
        help_text=_("What is not chosen is withheld; the bundle can be verified all the same."),
    )
    keys = forms.CharField(
        label=_("Encrypt to these age keys"),
        required=False,
        max_length=20_000,
        widget=forms.Textarea(attrs={"rows": 2, "dir": "auto", "spellcheck": "false", "autocomplete": "off"}),
        help_text=_(
            "A line each: whose key it is, =, the key, as in: Court of Beira = age1... Only they can open it then, not "
            "even this archive."
        ),
    )
    volume_size = forms.ChoiceField(
        label=_("Split into volumes of"), choices=VOLUMES, initial="0", required=False
    )
    override = forms.CharField(
        label=_("Export all the same, because"),
        required=False,
        max_length=1000,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text=_("Recorded with your name in the custody chain of each of these sources."),
    )
    seen = forms.CharField(required=False, max_length=64, widget=forms.HiddenInput)

    def clean_items(self) -> list[tuple[int, int]]:
        """The numbers as ranges, both ends included."""
        ranges = []
        for part in self.cleaned_data["items"].replace(";", ",").split(","):
            first, dash, last = part.strip().partition("-")
            if not first and not dash:
                continue
            ends = [first.strip(), (last if dash else first).strip()]
            if not all(end.isdecimal() and len(end) <= 9 for end in ends) or int(ends[0]) > int(ends[1]):
                raise forms.ValidationError(_("Write numbers and ranges, as in 1, 4, 20-25."))
            ranges.append((int(ends[0]), int(ends[1])))
        return ranges

    def clean_keys(self) -> tuple[terms.Key, ...]:
        """Name and key of each line."""
        try:
            return tuple(
                terms.key_of(line) for line in self.cleaned_data["keys"].splitlines() if line.strip()
            )
        except BadInput as error:
            raise forms.ValidationError(error.sentence) from error

    def clean_volume_size(self) -> int:
        """In bytes; 0: one volume."""
        return terms.size_of(self.cleaned_data["volume_size"] or "0")

    def clean_destination(self) -> str:
        """Internal, unless said otherwise."""
        return self.cleaned_data["destination"] or Bundle.Destination.INTERNAL

    def clean_files(self) -> str:
        """Originals, unless said otherwise."""
        return self.cleaned_data["files"] or Bundle.Files.ORIGINALS

    def terms(self) -> dict[str, Any]:
        """What was said, as fields of evidence.terms.Terms."""
        given = {
            name: value
            for name, value in self.cleaned_data.items()
            if name not in ("items", "reason", "seen")
        }
        return {**given, "disclosed": tuple(given["disclosed"])}


class HandOnForm(forms.Form):
    """To whom a copy of a bundle was given."""

    recipient = forms.CharField(label=_("Handed to"), max_length=400)
    basis = forms.CharField(label=_("Mandate or legal basis"), max_length=1000)
    approved_by = forms.CharField(label=_("Approved by"), required=False, max_length=400)
    note = forms.CharField(
        label=_("How and when"), required=False, max_length=1000, widget=forms.Textarea(attrs={"rows": 2})
    )
