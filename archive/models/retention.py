"""Legal holds, and requests to destroy: an item's bytes, or a source's identity. One asks, another answers."""

import uuid

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from archive.models.base import Custodial
from archive.models.cases import Case, Source
from archive.models.items import Item
from archive.models.people import User


class HoldQuerySet(models.QuerySet):
    """Questions about holds."""

    def standing(self) -> "HoldQuerySet":
        """Those that nobody has lifted."""
        return self.filter(lifted_at=None)


class Hold(Custodial):
    """A legal hold on a case, or on one item of it. While it stands, nothing that it covers is destroyed."""

    recorded = ("case", "item", "identities", "placed_by", "placed_at", "lifted_by", "lifted_at")
    private = ("reason", "lift_reason")
    derived = ("id",)

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    case = models.ForeignKey(Case, on_delete=models.PROTECT, related_name="holds")
    item = models.ForeignKey(Item, null=True, blank=True, on_delete=models.PROTECT, related_name="holds")
    # That the identities of the sources may not be destroyed either.
    identities = models.BooleanField(default=True)
    reason = models.CharField(max_length=1000)
    placed_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    placed_at = models.DateTimeField()
    lift_reason = models.CharField(max_length=1000, blank=True)
    lifted_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    lifted_at = models.DateTimeField(null=True, blank=True)

    objects = HoldQuerySet.as_manager()

    class Meta:
        ordering = ["placed_at", "pk"]
        constraints = [
            models.CheckConstraint(
                name="hold_is_lifted_by_somebody",
                condition=Q(lifted_at=None, lifted_by=None)
                | Q(lifted_at__isnull=False, lifted_by__isnull=False) & ~Q(lift_reason=""),
            )
        ]
        indexes = [
            models.Index(fields=["case", "item"], condition=Q(lifted_at=None), name="hold_that_stands")
        ]

    def custody_subject(self) -> str:
        return f"item:{self.item_id}" if self.item_id else f"case:{self.case_id}"


class DisposalQuerySet(models.QuerySet):
    """Questions about requests."""

    def visible_to(self, user: User) -> "DisposalQuerySet":
        """Requests in the cases that were shared with this person."""
        return self.filter(case__in=Case.objects.visible_to(user))


class Disposal(Custodial):
    """A request to destroy, and another person's answer to it. The answer is never the asker's own."""

    class What(models.TextChoices):
        ITEMS = "items", _("items")
        IDENTITY = "identity", _("the identity of a source")

    class State(models.TextChoices):
        REQUESTED = "requested", _("waits for another person")
        WITHDRAWN = "withdrawn", _("withdrawn")
        DECLINED = "declined", _("declined")
        APPROVED = "approved", _("approved, being carried out")
        DONE = "done", _("done")

    recorded = (
        "case",
        "what",
        "source",
        "with_pseudonym",
        "item_count",
        "items_sha256",
        "requested_by",
        "requested_at",
        "state",
        "answered_by",
        "answered_at",
        "finished_at",
    )
    private = ("reason", "authority", "answer")
    derived = ("id",)

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    case = models.ForeignKey(Case, on_delete=models.PROTECT, related_name="disposals")
    what = models.CharField(max_length=10, choices=What)
    source = models.ForeignKey(Source, null=True, on_delete=models.PROTECT, related_name="disposals")
    with_pseudonym = models.BooleanField(default=False)
    item_count = models.PositiveIntegerField(default=0)
    # SHA-256 over the items' ids, sorted, each with a line feed: what was asked for, in one hash.
    items_sha256 = models.CharField(max_length=64, blank=True)
    reason = models.CharField(max_length=1000)
    # The rule, order or wish that allows it.
    authority = models.CharField(max_length=400)
    requested_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    requested_at = models.DateTimeField()

    state = models.CharField(max_length=10, choices=State, default=State.REQUESTED)
    answered_by = models.ForeignKey(User, null=True, on_delete=models.PROTECT, related_name="+")
    answered_at = models.DateTimeField(null=True)
    answer = models.CharField(max_length=1000, blank=True)
    finished_at = models.DateTimeField(null=True)

    objects = DisposalQuerySet.as_manager()

    class Meta:
        ordering = ["-requested_at", "-pk"]
        constraints = [
            models.CheckConstraint(
                name="disposal_is_answered_by_another_person", condition=~Q(answered_by=F("requested_by"))
            ),
            models.CheckConstraint(
                name="disposal_is_carried_out_after_an_answer",
                condition=Q(state__in=["requested", "withdrawn"], answered_by=None, answered_at=None)
                | Q(
                    state__in=["declined", "approved", "done"],
                    answered_by__isnull=False,
                    answered_at__isnull=False,
                ),
            ),
            models.CheckConstraint(
                name="disposal_says_of_what",
                condition=Q(what="items", source=None, item_count__gt=0)
                | Q(what="identity", source__isnull=False, item_count=0),
            ),
            models.UniqueConstraint(
                fields=["source"], condition=Q(state="requested"), name="identity_asked_for_once_at_a_time"
            ),
        ]
        indexes = [models.Index(fields=["case", "-requested_at"], name="disposal_by_case")]

    def custody_subject(self) -> str:
        return f"source:{self.source_id}" if self.source_id else f"case:{self.case_id}"


class DisposalItem(models.Model):
    """An item that a request names. Technical: the request commits to the list, each item's chain to its part."""

    disposal = models.ForeignKey(Disposal, on_delete=models.PROTECT, related_name="entries")
    item = models.ForeignKey(Item, on_delete=models.PROTECT, related_name="disposal_entries")
    disposed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["disposal", "item"], name="item_once_per_disposal")]
        indexes = [
            models.Index(fields=["disposal"], condition=Q(disposed_at=None), name="disposal_left_to_do")
        ]
