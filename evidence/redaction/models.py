"""Redactions: what is to be covered in an item, who confirmed it, what came of it, who released it."""

import uuid

from django.db import models
from django.utils.translation import gettext_lazy as _

from archive.models import Item, Rendition, User
from archive.models.items import OfItem


class RedactionQuerySet(models.QuerySet):
    """Questions about redactions."""

    def open(self) -> "RedactionQuerySet":
        """Those that somebody still has to do something about, or a worker."""
        return self.filter(state__in=Redaction.OPEN)


class Redaction(OfItem):
    """One set of regions of one item, on its way from suggestion to a released rendition. Never edited once confirmed:
    what has to be changed is a further redaction, based on this one."""

    class State(models.TextChoices):
        DRAFT = "draft", _("being drawn")
        CONFIRMED = "confirmed", _("confirmed, being rendered")
        RENDERED = "rendered", _("rendered, not yet approved")
        FAILED = "failed", _("could not be rendered")
        APPROVED = "approved", _("approved")
        SET_ASIDE = "set_aside", _("set aside")
        WITHDRAWN = "withdrawn", _("withdrawn")

    OPEN = (State.DRAFT, State.CONFIRMED, State.RENDERED, State.FAILED)

    recorded = (
        "item",
        "number",
        "based_on",
        "state",
        "begun_by",
        "begun_at",
        "draft_sha256",
        "recipe_sha256",
        "confirmed_by",
        "confirmed_at",
        "rendition",
        "thumbnail",
        "report_sha256",
        "approved_by",
        "approved_at",
        "ended_by",
        "ended_at",
    )
    private = ("statement", "reason")
    derived = ("id", "draft", "recipe", "report", "problem")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    item = models.ForeignKey(Item, on_delete=models.PROTECT, related_name="redactions")
    number = models.PositiveIntegerField()
    based_on = models.ForeignKey("self", null=True, on_delete=models.PROTECT, related_name="+")
    state = models.CharField(max_length=10, choices=State, default=State.DRAFT)
    begun_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    begun_at = models.DateTimeField()

    # What is on the table: see evidence.redaction.document. Its canonical form's SHA-256 is in the log.
    draft = models.JSONField(default=dict)
    draft_sha256 = models.CharField(max_length=64)
    # What a person confirmed, and the renderer follows; the same.
    recipe = models.JSONField(default=dict, blank=True)
    recipe_sha256 = models.CharField(max_length=64, blank=True)
    confirmed_by = models.ForeignKey(User, null=True, on_delete=models.PROTECT, related_name="+")
    confirmed_at = models.DateTimeField(null=True)

    # What came of it: the programs that made and checked it, and what the check found; the same.
    report = models.JSONField(default=dict, blank=True)
    report_sha256 = models.CharField(max_length=64, blank=True)
    rendition = models.ForeignKey(Rendition, null=True, on_delete=models.PROTECT, related_name="+")
    thumbnail = models.ForeignKey(Rendition, null=True, on_delete=models.PROTECT, related_name="+")
    problem = models.CharField(max_length=1000, blank=True)

    # What the person said who released it, and why it was set aside or withdrawn.
    statement = models.CharField(max_length=4000, blank=True)
    approved_by = models.ForeignKey(User, null=True, on_delete=models.PROTECT, related_name="+")
    approved_at = models.DateTimeField(null=True)
    reason = models.CharField(max_length=4000, blank=True)
    ended_by = models.ForeignKey(User, null=True, on_delete=models.PROTECT, related_name="+")
    ended_at = models.DateTimeField(null=True)

    objects = RedactionQuerySet.as_manager()

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(fields=["item", "number"], name="redaction_number_once_per_item"),
            models.UniqueConstraint(
                fields=["item"],
                condition=models.Q(state__in=["draft", "confirmed", "rendered", "failed"]),
                name="one_open_redaction_per_item",
            ),
            models.CheckConstraint(
                condition=~models.Q(state__in=["approved", "withdrawn"])
                | models.Q(
                    rendition__isnull=False,
                    confirmed_by__isnull=False,
                    approved_by__isnull=False,
                    approved_at__isnull=False,
                ),
                name="approved_redaction_has_its_people",
            ),
        ]


class RedactionLook(OfItem):
    """That a person looked at a rendered redaction. Who approves it must have."""

    recorded = ("item", "redaction", "rendition", "by", "at")
    derived = ("id",)

    item = models.ForeignKey(Item, on_delete=models.PROTECT, related_name="+")
    redaction = models.ForeignKey(Redaction, on_delete=models.PROTECT, related_name="looks")
    rendition = models.ForeignKey(Rendition, on_delete=models.PROTECT, related_name="+")
    by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()

    class Meta:
        ordering = ["at", "pk"]
