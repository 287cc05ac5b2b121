"""What forms read. No rule of the domain lives here: the verbs refuse what is not allowed."""

import datetime as dt

from django import forms
from django.contrib.auth.forms import SetPasswordForm
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from archive import access
from archive.models import Case, Source, User


class DateInput(forms.DateInput):
    """The browser's own date field."""

    input_type = "date"

    def __init__(self) -> None:
        super().__init__(format="%Y-%m-%d")


class CaseForm(forms.ModelForm):
    """What may be changed of a case."""

    reason = forms.CharField(label=_("Reason for the change"), max_length=400, required=False)

    class Meta:
        model = Case
        fields = ("title", "mandate", "sensitivity", "status", "retention", "retain_until")
        widgets = {"retain_until": DateInput(), "mandate": forms.Textarea({"rows": 3})}
        help_texts = {
            "mandate": _("On whose behalf, and until when."),
            "status": _("A closed case takes no further material."),
        }


class OpenCaseForm(forms.ModelForm):
    """A new case."""

    class Meta:
        model = Case
        fields = ("code", "title", "mandate", "sensitivity", "retention", "retain_until")
        widgets = {"retain_until": DateInput(), "mandate": forms.Textarea({"rows": 3})}
        help_texts = {
            "code": _(
                "Short, without spaces, as DEMO-01. It stands in every item's code and cannot be changed."
            ),
            "mandate": _("On whose behalf, and until when."),
        }


class SourceForm(forms.ModelForm):
    """Who or where material comes from."""

    class Meta:
        model = Source
        fields = (
            "code",
            "pseudonym",
            "kind",
            "reliability",
            "consent_informed",
            "consent_scope",
            "consent_date",
            "consent_ends",
            "may_be_public",
            "may_go_to_courts",
            "legal_basis",
        )
        widgets = {
            "consent_date": DateInput(),
            "consent_ends": DateInput(),
            "consent_scope": forms.Textarea({"rows": 3}),
        }
        help_texts = {
            "code": _("Short, as S-014. It names the source everywhere and cannot be changed."),
            "pseudonym": _("A name for work. The real identity is sealed apart and never belongs here."),
        }


class ChangeSourceForm(SourceForm):
    """What is known of a source now."""

    reason = forms.CharField(label=_("Reason for the change"), max_length=400, required=False)

    class Meta(SourceForm.Meta):
        fields = tuple(f for f in SourceForm.Meta.fields if f != "code")


class IdentityForm(forms.Form):
    """An identity to be sealed."""

    identity = forms.CharField(
        label=_("Real identity"),
        max_length=4000,
        widget=forms.Textarea({"rows": 3, "autocomplete": "off"}),
        help_text=_(
            "Name and how to reach them. It is encrypted with a key of its own and shown only on a stated reason."
        ),
    )
    reason = forms.CharField(label=_("Reason"), max_length=400, required=False)


class HoldForm(forms.Form):
    """A legal hold on a case, or on one item of it."""

    item = forms.IntegerField(
        label=_("Only on item number"),
        required=False,
        min_value=1,
        help_text=_("Empty: on the whole case, with what comes in later."),
    )
    reason = forms.CharField(
        label=_("Why it is held"),
        max_length=1000,
        widget=forms.Textarea({"rows": 2}),
        help_text=_("The order, the court, the number of the matter. It goes into the custody log."),
    )
    identities = forms.BooleanField(
        label=_("Also keep the identities of the sources"), required=False, initial=True
    )


class ItemDisposalForm(forms.Form):
    """Why something is to be destroyed, and what allows it."""

    reason = forms.CharField(
        label=_("Why it is to be destroyed"),
        max_length=1000,
        widget=forms.Textarea({"rows": 2}),
        help_text=_("It goes into the custody log, which never expires: name nobody here."),
    )
    authority = forms.CharField(
        label=_("On which authority"),
        max_length=400,
        help_text=_(
            "The retention rule, the order of a court, the wish of the source. It stands on the certificate."
        ),
    )


class DisposalForm(ItemDisposalForm):
    """Which items of a case are to be destroyed."""

    items = forms.CharField(
        label=_("Items"),
        required=False,
        max_length=100_000,
        widget=forms.Textarea({"rows": 2, "dir": "ltr"}),
        help_text=_("Numbers as in 1, 4, 20-25."),
    )
    everything = forms.BooleanField(label=_("Every item that the case holds now"), required=False)
    field_order = ("items", "everything", "reason", "authority")

    def clean_items(self) -> list[tuple[int, int]]:
        """The numbers as ranges, both ends included."""
        ranges = []
        for part in self.cleaned_data["items"].replace(";", ",").split(","):
            first, dash, last = (piece.strip() for piece in part.partition("-"))
            if not first and not dash:
                continue
            ends = (first, last if dash else first)
            if not all(end.isdecimal() and len(end) <= 9 for end in ends) or int(ends[0]) > int(ends[1]):
                raise forms.ValidationError(_("Write numbers and ranges, as in 1, 4, 20-25."))
            ranges.append((int(ends[0]), int(ends[1])))
        return ranges

    def clean(self) -> None:
        """Either numbers or everything, said by name: an empty field destroys nothing."""
        given = super().clean()
        if "items" in given and bool(given["items"]) == given["everything"]:
            self.add_error("items", _("Give numbers, or choose every item: one of the two."))


class DestructionForm(ItemDisposalForm):
    """A source's identity is to be destroyed."""

    with_pseudonym = forms.BooleanField(
        label=_("The pseudonym too, because people know the source by it"), required=False
    )


class ShareForm(forms.Form):
    """Which permissions a person holds on a case, and until when."""

    username = forms.CharField(
        label=_("Sign-in name"),
        max_length=80,
        widget=forms.TextInput(
            {"dir": "ltr", "autocapitalize": "none", "autocomplete": "off", "spellcheck": "false"}
        ),
        help_text=_("Of the person with whom the case is shared."),
    )
    permissions = forms.MultipleChoiceField(
        label=_("May"),
        choices=[
            (access.VIEW, _("see the case, and do what their role allows")),
            (access.EXPORT, _("export lists and bundles")),
            (access.IDENTITY, _("see the identity of sources, on a stated reason")),
            (access.MANAGE, _("change the case, share it, ask for disposal and answer others who ask")),
        ],
        widget=forms.CheckboxSelectMultiple,
        initial=[access.VIEW],
        required=False,
    )
    ends_on = forms.DateField(
        label=_("Last day"), required=False, widget=DateInput(), help_text=_("For guests. Empty: no end.")
    )

    def ends_at(self) -> dt.datetime | None:
        """The first moment after the last day, UTC."""
        day = self.cleaned_data["ends_on"]
        if day is None:
            return None
        return dt.datetime.combine(
            day + dt.timedelta(days=1), dt.time.min, tzinfo=timezone.get_current_timezone()
        )


class RolesForm(forms.Form):
    """The roles of a person."""

    roles = forms.MultipleChoiceField(label=_("Roles"), widget=forms.CheckboxSelectMultiple, required=False)

    def __init__(self, *args: object, **kwargs: object) -> None:
        from archive.templatetags.amparo import ROLES

        super().__init__(*args, **kwargs)
        self.fields["roles"].choices = list(ROLES.items())


class PersonForm(RolesForm):
    """A new account."""

    username = forms.CharField(
        label=_("Sign-in name"),
        max_length=80,
        widget=forms.TextInput(
            {"dir": "ltr", "autocapitalize": "none", "autocomplete": "off", "spellcheck": "false"}
        ),
    )
    name = forms.CharField(label=_("Name"), max_length=200)
    field_order = ("username", "name", "roles")


class OwnPasswordForm(SetPasswordForm):
    """A new password of one's own; the old one is asked for unless a one-time link opened this session."""

    old_password = forms.CharField(
        label=_("Present password"),
        widget=forms.PasswordInput({"autocomplete": "current-password", "dir": "ltr"}),
        strip=False,
    )
    field_order = ("old_password", "new_password1", "new_password2")

    def __init__(self, user: User, *args: object, ask_old: bool, **kwargs: object) -> None:
        super().__init__(user, *args, **kwargs)
        if not ask_old:
            del self.fields["old_password"]
        self.fields["new_password1"].help_text = _("At least 12 characters, not one that others use.")
        self.fields["new_password2"].help_text = ""

    def clean_old_password(self) -> str:
        """The one that is in force."""
        given = self.cleaned_data["old_password"]
        if not self.user.check_password(given):
            raise forms.ValidationError(_("That is not your present password. Nothing was changed."))
        return given
