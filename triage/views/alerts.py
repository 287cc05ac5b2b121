"""Alerts: what a person was told, what they ask to be told of, and where an administrator lets it be sent."""

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from archive import access
from archive.custody import Actor
from archive.errors import BadInput, Conflict
from archive.models import Case, User
from archive.views.cases import visible
from triage import alerts, questions, rules, sending, standing
from triage.models import Destination, Subscription, Telling

Measure = Subscription.Measure
SEEN_CLASSES = "classes"
NAMED = 12  # items named in a digest's row
PAGE = 50
PACES = {
    15: gettext_lazy("15 minutes"),
    60: gettext_lazy("an hour"),
    24 * 60: gettext_lazy("a day"),
}


class SubscribeForm(forms.Form):
    """What to be told of. Which fields count depends on `what`."""

    name = forms.CharField(label=gettext_lazy("Name"), max_length=120)
    question = forms.ChoiceField(label=gettext_lazy("Question"))
    what = forms.ChoiceField(
        label=gettext_lazy("Tell me when an item"),
        initial=Measure.POINTS,
        choices=[
            (Measure.POINTS, gettext_lazy("scores this many points by the rules, or more")),
            (Measure.CHANCE, gettext_lazy("has this learned score (0 to 1), or more")),
            (Measure.RULE, gettext_lazy("matches a rule of this case")),
            (SEEN_CLASSES, gettext_lazy("has one of these classes suggested")),
        ],
    )
    least = forms.CharField(label=gettext_lazy("Score, at least"), max_length=12, required=False)
    rule = forms.ChoiceField(label=gettext_lazy("Rule"), required=False)
    classes = forms.CharField(
        label=gettext_lazy("Classes, with commas between"),
        max_length=400,
        required=False,
        widget=forms.TextInput(attrs={"list": "classes"}),
    )
    confidence = forms.CharField(
        label=gettext_lazy("From the model's confidence"), max_length=6, required=False, initial="0.40"
    )
    mail = forms.ChoiceField(label=gettext_lazy("Also by mail"), required=False)
    webhook = forms.ChoiceField(label=gettext_lazy("Also to a webhook"), required=False)
    every_minutes = forms.TypedChoiceField(
        label=gettext_lazy("Mail and webhook at most once in"),
        coerce=int,
        initial=60,
        choices=list(PACES.items()),
    )

    def __init__(self, *given: Any, case: Case, user: User, **more: Any) -> None:
        super().__init__(*given, **more)
        self.case, self.user = case, user
        self.asked = {str(question.number): question for question in questions.asked(case)}
        self.criteria = [
            (number, criterion)
            for number, question in self.asked.items()
            for criterion in standing.rules_of(case, question.number).rules["criteria"]
        ]
        self.places = {
            kind: {str(row.pk): row for row in alerts.destinations_for(user, kind)}
            for kind in Destination.Kind.values
        }
        self.fields["question"].choices = [(n, f"{n}: {question}") for n, question in self.asked.items()]
        self.fields["rule"].choices = [
            ("", "–"),
            *(
                (str(place), f"{number}: {rule['name']}")
                for place, (number, rule) in enumerate(self.criteria)
            ),
        ]
        for kind, rows in self.places.items():
            self.fields[kind].choices = [("", _("no")), *((pk, row.name) for pk, row in rows.items())]
            if not rows:
                del self.fields[kind]
        if not any(self.places.values()):
            del self.fields["every_minutes"]

    def asked_for(self) -> dict[str, Any]:
        """The arguments of alerts.subscribe."""
        given = self.cleaned_data
        measure, rule = given["what"], None
        if measure == SEEN_CLASSES:
            labels = [label.strip() for label in given["classes"].split(",") if label.strip()]
            rule = {"kind": "seen", "any_of": labels, "weight": "1"}
            rule |= {"from_confidence": given["confidence"].strip()} if given["confidence"].strip() else {}
            measure = Measure.RULE.value
        elif measure == Measure.RULE:
            if not given["rule"]:
                raise BadInput(_("Choose the rule. Nothing was saved."))
            rule = self.criteria[int(given["rule"])][1]
        more = {"every_minutes": given["every_minutes"]} if "every_minutes" in given else {}
        return {
            "name": given["name"],
            "question": self.asked[given["question"]],
            "measure": measure,
            "least": given["least"],
            "rule": rule,
            **{kind: rows.get(given.get(kind, "")) for kind, rows in self.places.items()},
            **more,
        }


class DestinationForm(forms.Form):
    """A place outside."""

    kind = forms.ChoiceField(label=gettext_lazy("Kind"), choices=Destination.Kind.choices)
    name = forms.CharField(label=gettext_lazy("Name"), max_length=120)
    address = forms.CharField(
        label=gettext_lazy("Address"),
        max_length=1000,
        help_text=gettext_lazy("A mail address, or an https address."),
    )
    person = forms.ModelChoiceField(
        label=gettext_lazy("Only for"),
        queryset=User.objects.filter(is_active=True),
        required=False,
        empty_label=gettext_lazy("everybody"),
    )


@require_safe
@login_required
def listed(request: HttpRequest) -> HttpResponse:
    """What this person was told, the unseen first, and what they ask to be told of."""
    context = {
        "here": "alerts",
        "digests": [_digest(row) for row in alerts.digests(request.user)[:PAGE]],
        "subscriptions": [_subscription(row) for row in alerts.mine(request.user).filter(ended_at=None)],
        "waits": alerts.waits(alerts.mine(request.user).order_by()),
        "may_allow": access.can(request.user, "allow_destinations"),
    }
    return render(request, "triage/alerts.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def of_case(request: HttpRequest, code: str) -> HttpResponse:
    """A person's alerts in a case; a POST asks for a further one."""
    case = visible(request, code)
    if request.method == "POST":
        access.require(request.user, "subscribe", case)
    form = SubscribeForm(request.POST or None, case=case, user=request.user)
    if request.method == "POST" and form.is_valid():
        try:
            alerts.subscribe(case=case, actor=Actor.of(request), **form.asked_for())
        except BadInput as error:
            form.add_error(None, error.sentence)
        else:
            messages.success(request, _("You will be told. What scores enough already is being looked up."))
            return redirect("alerts-of-case", case.code)
    context = {
        "case": case,
        "here": "alerts-of-case",
        "form": form,
        "classes": rules.known_classes(),
        "subscriptions": [_subscription(row) for row in alerts.mine(request.user, case)],
        "may_subscribe": access.can(request.user, "subscribe", case),
    }
    return render(
        request, "triage/alerts_case.html", context, status=422 if request.method == "POST" else 200
    )


@require_safe
@login_required
def digest(request: HttpRequest, digest_id: UUID) -> HttpResponse:
    """All items of a digest."""
    found = get_object_or_404(alerts.digests(request.user), pk=digest_id)
    after = request.GET.get("next", "0")
    if not (after.isascii() and after.isdigit() and len(after) < 18):
        raise BadInput(_("This address does not lead to a page of the list. Start again from the top."))
    page = list(alerts.items_of(found).filter(pk__gt=int(after))[: PAGE + 1])
    context = {
        "case": found.subscription.case,
        "here": "alerts-of-case",
        "digest": _digest(found),
        "rows": page[:PAGE],
        "next": str(page[PAGE - 1].pk) if len(page) > PAGE else "",
    }
    return render(request, "triage/alerts_digest.html", context)


@require_POST
@login_required
def seen(request: HttpRequest, digest_id: UUID) -> HttpResponse:
    """Take a digest off the count."""
    found = get_object_or_404(alerts.digests(request.user), pk=digest_id)
    alerts.seen(digest=found, actor=Actor.of(request))
    return redirect("alerts")


@require_POST
@login_required
def end(request: HttpRequest, subscription_id: UUID) -> HttpResponse:
    """End one's own subscription."""
    found = get_object_or_404(alerts.mine(request.user), pk=subscription_id)
    try:
        alerts.end(subscription=found, actor=Actor.of(request))
    except Conflict as error:
        messages.error(request, error.sentence)
    else:
        messages.success(request, _("You are told of this no more. What you were told stays."))
    return redirect("alerts-of-case", found.case.code)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def destinations(request: HttpRequest) -> HttpResponse:
    """Where alerts may be sent. A webhook's secret is shown once, in the answer to the POST that allows it."""
    access.require(request.user, "allow_destinations")
    form, secret = DestinationForm(request.POST or None), ""
    status = 422 if request.method == "POST" else 200
    if request.method == "POST" and form.is_valid():
        try:
            made = alerts.allow(actor=Actor.of(request), **form.cleaned_data)
        except BadInput as error:
            form.add_error(None, error.sentence)
        else:
            if made.kind == Destination.Kind.MAIL:
                return redirect("alert-destinations")
            secret, form, status = sending.secret_words(made.pk), DestinationForm(), 201
    context = {
        "here": "alerts",
        "form": form,
        "secret": secret,
        "webhooks_on": alerts.webhooks_on(),
        "rows": Destination.objects.filter(ended_at=None).select_related("person", "by"),
    }
    return render(request, "triage/alerts_destinations.html", context, status=status)


@require_POST
@login_required
def destination_end(request: HttpRequest, destination_id: UUID) -> HttpResponse:
    """Let nothing more be sent there."""
    access.require(request.user, "allow_destinations")
    found = get_object_or_404(Destination, pk=destination_id)
    try:
        alerts.forbid(destination=found, actor=Actor.of(request))
    except Conflict as error:
        messages.error(request, error.sentence)
    return redirect("alert-destinations")


def _digest(row: Telling) -> dict[str, Any]:
    told = alerts.items_of(row)
    return {"row": row, "one": row.subscription, "count": told.count(), "first": told[:NAMED]}


def _subscription(row: Subscription) -> dict[str, Any]:
    return {
        "row": row,
        "what": _what(row),
        "waits": alerts.waits(Subscription.objects.filter(pk=row.pk)),
        "places": [place for place in (row.mail, row.webhook) if place],
        "pace": PACES.get(row.every_minutes, ""),
        "told": alerts.told_of(row),
    }


def _what(row: Subscription) -> str:
    """What is asked for, in words."""
    if row.measure == Measure.POINTS:
        return _("points by the rules: %(least)s or more") % {"least": f"{row.least.normalize():f}"}
    if row.measure == Measure.CHANCE:
        return _("learned score: %(least)s or more") % {"least": f"{row.least.normalize():f}"}
    if row.rule.get("kind") == "seen":
        words = {"classes": ", ".join(row.rule["any_of"]), "least": row.rule.get("from_confidence", "0.40")}
        return _("suggested: %(classes)s, from a confidence of %(least)s") % words
    return _("the rule as it was when you asked")
