"""By which rules a case's items are ordered, and where each stands."""

from decimal import Decimal

from django.db import models
from django.utils.translation import gettext_lazy as _

from archive.models import Case, Item, User
from archive.models.base import Custodial


class Criteria(Custodial):
    """One version of a case's rules for the order of review. Never changed: an edit is a further version."""

    recorded = ("case", "number", "rules", "by", "at")
    private = ("name",)
    derived = ("id",)

    case = models.ForeignKey(Case, on_delete=models.PROTECT, related_name="criteria")
    number = models.PositiveIntegerField()
    name = models.CharField(max_length=120)
    rules = models.JSONField()
    by = models.ForeignKey(User, null=True, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(fields=["case", "number"], name="criteria_number_once_per_case")
        ]

    def custody_subject(self) -> str:
        return f"case:{self.case_id}"


class Standing(models.Model):
    """Where an item stands in its case's order of review, and why. Rebuilt by `manage.py triage rescore`.

    The order is band, then points from high to low, then arrival (the item's number). Every item of a case has a
    row; none is left out for a low score.
    """

    class Band(models.IntegerChoices):
        SCORED = 0, _("scored")
        UNSCORED = 1, _("not scored: after those that are, oldest first")
        POSTPONED = 2, _("postponed: after the others")
        DECIDED = 3, _("decided")

    class State(models.TextChoices):
        WAITING = "waiting", _("No model has looked at this item yet.")
        SCORED = "scored", _("scored")
        UNREADABLE = "unreadable", _("No picture could be decoded, so no model has looked at it.")
        NOT_PICTURES = "not_pictures", _("Not a picture or a video: no model here reads such files.")
        FAILED = "failed", _("The model failed on this item.")

    UNSCORED_POINTS = -1_000_000_000

    item = models.OneToOneField(Item, on_delete=models.CASCADE, primary_key=True, related_name="standing")
    case = models.ForeignKey(Case, on_delete=models.CASCADE, related_name="+")
    number = models.PositiveIntegerField()
    kind = models.CharField(max_length=10, choices=Item.Kind, default=Item.Kind.UNKNOWN)
    band = models.PositiveSmallIntegerField(choices=Band, default=Band.UNSCORED)
    state = models.CharField(max_length=12, choices=State, default=State.WAITING)
    # Thousandths of a point; UNSCORED_POINTS where there is no score
    points = models.BigIntegerField(default=UNSCORED_POINTS)
    # Why it has no score, in words; empty for what `state` says already
    note = models.CharField(max_length=400, blank=True)
    reasons = models.JSONField(default=list, blank=True)
    # The criteria's number (0: the built-in ones) and the hash of their rules
    criteria = models.PositiveIntegerField(default=0)
    rules_sha256 = models.CharField(max_length=64, blank=True)
    postponed = models.BooleanField(default=False)
    scored_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(fields=["case", "band", "-points", "number"], name="order_of_review"),
            models.Index(fields=["case", "number"], name="standing_by_arrival"),
            models.Index(fields=["case", "band", "state"], name="standing_counts"),
        ]

    @property
    def value(self) -> Decimal | None:
        """The score in points, or None where there is none."""
        return Decimal(self.points).scaleb(-3) if self.state == self.State.SCORED else None

    @property
    def why_unscored(self) -> str:
        """A sentence for people; empty for a scored item."""
        return "" if self.state == self.State.SCORED else self.note or str(self.State(self.state).label)
