"""What people say about items: tags, notes, assignments, decisions. A model writes none of these."""

import uuid

from django.db import models
from django.utils.translation import gettext_lazy as _

from archive.models.base import Custodial
from archive.models.cases import Case
from archive.models.items import Item, OfItem
from archive.models.people import User


class Tag(Custodial):
    """A word that a case's people use."""

    recorded = ("case",)
    private = ("name",)
    derived = ("id",)

    case = models.ForeignKey(Case, on_delete=models.PROTECT, related_name="tags")
    name = models.CharField(max_length=80)

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["case", "name"], name="tag_once_per_case")]

    def __str__(self) -> str:
        return self.name

    def custody_subject(self) -> str:
        return f"case:{self.case_id}"


class ItemTag(OfItem):
    """A tag on an item."""

    recorded = ("item", "tag", "by", "at")
    derived = ("id",)

    item = models.ForeignKey(Item, on_delete=models.PROTECT, related_name="item_tags")
    tag = models.ForeignKey(Tag, on_delete=models.PROTECT, related_name="item_tags")
    by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["item", "tag"], name="tag_once_per_item")]


class Note(OfItem):
    """Something a person wrote about an item, for a moment of a video where `frame_ms` says so."""

    recorded = ("item", "by", "at", "frame_ms")
    private = ("text",)
    derived = ("id",)

    item = models.ForeignKey(Item, on_delete=models.PROTECT, related_name="notes")
    by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()
    text = models.TextField(max_length=8000)
    frame_ms = models.PositiveBigIntegerField(null=True)

    class Meta:
        ordering = ["at", "pk"]


class Assignment(OfItem):
    """An item given to a person to look at."""

    recorded = ("item", "to", "by", "at", "closed_at")
    derived = ("id",)

    item = models.ForeignKey(Item, on_delete=models.PROTECT, related_name="assignments")
    to = models.ForeignKey(User, on_delete=models.PROTECT, related_name="assignments")
    by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["item", "to"], condition=models.Q(closed_at=None), name="assigned_once_at_a_time"
            )
        ]


class Decision(OfItem):
    """What a signed-in person decided. Immutable; a withdrawal is a row of its own that names what it withdraws."""

    class Value(models.TextChoices):
        RELEVANT = "relevant", _("relevant")
        NOT_RELEVANT = "not_relevant", _("not relevant")
        SECOND_LOOK = "second_look", _("needs second look")
        ESCALATE = "escalate", _("escalate")
        WITHDRAWN = "withdrawn", _("withdrawn")

    recorded = ("item", "value", "by", "at", "withdraws")
    private = ("reason", "shown")  # why it stood where it did can name places, dates and words of notes
    derived = ("id",)

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    item = models.ForeignKey(Item, on_delete=models.PROTECT, related_name="decisions")
    value = models.CharField(max_length=12, choices=Value)
    reason = models.CharField(max_length=4000, blank=True)
    by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="decisions")
    at = models.DateTimeField()
    withdraws = models.OneToOneField(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="withdrawn_by"
    )
    # What the person saw of the ranking: its version, place, score and reasons (numbers as text).
    shown = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering = ["at", "pk"]
        constraints = [
            models.CheckConstraint(
                name="withdrawal_names_what_it_withdraws",
                condition=models.Q(value="withdrawn", withdraws__isnull=False)
                | (~models.Q(value="withdrawn") & models.Q(withdraws=None)),
            )
        ]


class Postponement(OfItem):
    """A person put an item off, with a reason. It stays in the queue, after those not put off."""

    recorded = ("item", "by", "at")
    private = ("reason",)
    derived = ("id",)

    item = models.ForeignKey(Item, on_delete=models.PROTECT, related_name="postponements")
    by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()
    reason = models.CharField(max_length=1000)
