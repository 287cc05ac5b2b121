"""Who wants to be told what about a case, where an administrator lets it be sent, and what was told."""

import uuid

from django.db import models
from django.utils.translation import gettext_lazy as _

from archive.models import Case, Item, User
from archive.models.base import Custodial
from triage.models.questions import Question


class Destination(Custodial):
    """A place outside that an administrator lets alerts be sent to: a mail address or a webhook."""

    class Kind(models.TextChoices):
        MAIL = "mail", _("mail")
        WEBHOOK = "webhook", _("webhook")

    recorded = ("kind", "person", "by", "at", "ended_at")
    private = ("name", "address")
    derived = ("id",)

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(max_length=8, choices=Kind)
    name = models.CharField(max_length=120)
    # A mail address, or an https address
    address = models.CharField(max_length=1000)
    # Who alone may choose it; none: everybody
    person = models.ForeignKey(User, null=True, on_delete=models.PROTECT, related_name="+")
    by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["kind", "at"]

    def __str__(self) -> str:
        return self.name

    def custody_subject(self) -> str:
        return "system:main"


class Subscription(Custodial):
    """What one person wants to be told about the items of a case, until they or the loss of their access end it."""

    class Measure(models.TextChoices):
        POINTS = "points", _("points by the rules")
        CHANCE = "chance", _("learned score, 0 to 1")
        RULE = "rule", _("a rule")

    class Ended(models.TextChoices):
        PERSON = "person", _("ended by the person")
        ACCESS = "access", _("ended by the archive: the person has no access to the case any more")
        QUESTION = "question", _("ended by the archive: the question was closed")

    recorded = (
        "case",
        "by",
        "question",
        "measure",
        "least",
        "mail",
        "webhook",
        "every_minutes",
        "at",
        "ended_at",
        "ended_because",
    )
    private = ("name", "rule")
    derived = ("id",)

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    case = models.ForeignKey(Case, on_delete=models.PROTECT, related_name="+")
    by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    name = models.CharField(max_length=120)
    question = models.ForeignKey(Question, on_delete=models.PROTECT, related_name="+")
    measure = models.CharField(max_length=8, choices=Measure)
    # The score from which on an item is told of; none for a rule
    least = models.DecimalField(max_digits=9, decimal_places=3, null=True)
    # One criterion of triage.rules, without its name; empty for a score
    rule = models.JSONField(default=dict, blank=True)
    mail = models.ForeignKey(Destination, null=True, on_delete=models.PROTECT, related_name="+")
    webhook = models.ForeignKey(Destination, null=True, on_delete=models.PROTECT, related_name="+")
    # At most one mail and one call of the webhook in so many minutes
    every_minutes = models.PositiveIntegerField()
    at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    ended_because = models.CharField(max_length=8, choices=Ended, blank=True)

    class Meta:
        ordering = ["case", "at"]
        indexes = [
            models.Index(fields=["case"], condition=models.Q(ended_at=None), name="subscription_in_force")
        ]
        constraints = [
            models.CheckConstraint(
                name="subscription_has_a_score_or_a_rule",
                condition=models.Q(measure="rule", least=None)
                | ~models.Q(measure="rule") & models.Q(rule={}),
            ),
            models.CheckConstraint(
                name="subscription_end_has_a_reason",
                condition=models.Q(ended_at=None, ended_because="")
                | models.Q(ended_at__isnull=False) & ~models.Q(ended_because=""),
            ),
        ]

    def custody_subject(self) -> str:
        return f"case:{self.case_id}"


class Telling(models.Model):
    """One digest: items told of together, over one channel. Prepared, then told; the log has an event of what was told.

    A digest that is sent again after a failure has the same id and the same items.
    """

    class Channel(models.TextChoices):
        APP = "app", _("here")
        MAIL = "mail", _("mail")
        WEBHOOK = "webhook", _("webhook")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    subscription = models.ForeignKey(Subscription, on_delete=models.CASCADE, related_name="tellings")
    channel = models.CharField(max_length=8, choices=Channel)
    prepared_at = models.DateTimeField()
    told_at = models.DateTimeField(null=True)
    # When the person said that they have seen it (here only)
    seen_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-prepared_at", "pk"]
        indexes = [
            models.Index(fields=["subscription", "channel", "-prepared_at"], name="tellings_by_channel")
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["subscription", "channel"],
                condition=models.Q(told_at=None),
                name="one_digest_on_its_way",
            ),
            models.UniqueConstraint(
                fields=["subscription"],
                condition=models.Q(channel="app", seen_at=None),
                name="one_unseen_digest",
            ),
        ]


class Alert(models.Model):
    """That an item reached what a subscription asks for: once, whatever its score does afterwards."""

    subscription = models.ForeignKey(Subscription, on_delete=models.CASCADE, related_name="alerts")
    item = models.ForeignKey(Item, on_delete=models.CASCADE, related_name="+")
    at = models.DateTimeField()
    # What it reached, as text: points, a score from 0 to 1, or the points of the rule
    score = models.CharField(max_length=16)
    # Milliseconds from ingest to `at`; none for an item that was there before the subscription
    waited_ms = models.PositiveBigIntegerField(null=True)
    shown_in = models.ForeignKey(Telling, on_delete=models.CASCADE, related_name="shown")
    mailed_in = models.ForeignKey(Telling, null=True, on_delete=models.CASCADE, related_name="mailed")
    posted_in = models.ForeignKey(Telling, null=True, on_delete=models.CASCADE, related_name="posted")

    class Meta:
        ordering = ["pk"]
        constraints = [models.UniqueConstraint(fields=["subscription", "item"], name="alert_once_per_item")]

    @property
    def waited_s(self) -> float | None:
        """Seconds from ingest to alert."""
        return None if self.waited_ms is None else self.waited_ms / 1000
