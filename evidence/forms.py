"""What a person says when they ask for a bundle."""

from django import forms
from django.utils.translation import gettext_lazy as _

from evidence.disclosure import DEFAULT, GROUPS


class BundleForm(forms.Form):
    """Which items, what is given out, and why."""

    items = forms.CharField(
        label=_("Items"),
        required=False,
        max_length=200_000,
        widget=forms.Textarea(attrs={"rows": 2, "dir": "ltr"}),
        help_text=_("Numbers as in 1, 4, 20-25. Empty: every item of the case."),
    )
    disclosed = forms.MultipleChoiceField(
        label=_("Give out"),
        required=False,
        choices=[(name, group.words) for name, group in GROUPS.items()],
        initial=list(DEFAULT),
        widget=forms.CheckboxSelectMultiple,
        help_text=_("What is not chosen is withheld; the bundle can be verified all the same."),
    )
    reason = forms.CharField(
        label=_("For whom and why"),
        max_length=1000,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text=_("Goes into the custody log, and into the bundle where reasons are given out."),
    )

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
