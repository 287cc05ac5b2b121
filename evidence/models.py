"""Bundles: what was asked for, by whom, and what came of it."""

import uuid

from django.db import models
from django.utils.translation import gettext_lazy as _

from archive.models import Blob, Case, Item, User
from archive.models.base import Custodial


class BundleQuerySet(models.QuerySet):
    """Questions about bundles."""

    def visible_to(self, user: User) -> "BundleQuerySet":
        """Bundles of the cases that were shared with this person."""
        return self.filter(case__in=Case.objects.visible_to(user))


class Bundle(Custodial):
    """One export of a case's items as evidence. Asked for by a person, built by a job or at the shell."""

    class State(models.TextChoices):
        REQUESTED = "requested", _("being built")
        BUILT = "built", _("built")
        FAILED = "failed", _("could not be built")

    class Destination(models.TextChoices):
        VAULT = "vault", _("kept encrypted, for download")
        SHELL = "shell", _("written at the shell")

    recorded = (
        "case",
        "item_count",
        "items_sha256",
        "disclosed",
        "key",
        "destination",
        "requested_by",
        "requested_at",
        "state",
        "blob",
        "size",
        "statement_sha256",
        "finished_at",
    )
    derived = ("id", "problem")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    case = models.ForeignKey(Case, on_delete=models.PROTECT, related_name="bundles")
    item_count = models.PositiveIntegerField()
    # SHA-256 over the items' ids, sorted, each with a line feed: what was asked for, in one hash.
    items_sha256 = models.CharField(max_length=64)
    # Names of the groups of evidence.disclosure whose values are given out.
    disclosed = models.JSONField(default=list, blank=True)
    # Fingerprint of the key that signs it: SHA-256 of the raw Ed25519 public key.
    key = models.CharField(max_length=64)
    destination = models.CharField(max_length=8, choices=Destination)
    requested_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    requested_at = models.DateTimeField()

    state = models.CharField(max_length=10, choices=State, default=State.REQUESTED)
    problem = models.CharField(max_length=1000, blank=True)
    # The .zip in the vault; none where it was written at the shell.
    blob = models.ForeignKey(Blob, null=True, blank=True, on_delete=models.PROTECT, related_name="bundles")
    size = models.PositiveBigIntegerField(null=True, blank=True)
    # SHA-256 of signature/statement.json: names the finished bundle, whatever it is packed in.
    statement_sha256 = models.CharField(max_length=64, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = BundleQuerySet.as_manager()

    class Meta:
        ordering = ["-requested_at", "-pk"]
        indexes = [models.Index(fields=["case", "-requested_at"], name="bundle_by_case")]

    def __str__(self) -> str:
        return self.name

    @property
    def name(self) -> str:
        """Name of the bundle's folder: the case's code, the day it was asked for, a part of its id."""
        return f"{self.case.code}-{self.requested_at:%Y-%m-%d}-{str(self.pk)[:8]}"

    def custody_subject(self) -> str:
        return f"bundle:{self.pk}"


class BundleItem(models.Model):
    """An item that a bundle holds. Technical: the request's event commits to the list, each item's chain to its part."""

    bundle = models.ForeignKey(Bundle, on_delete=models.PROTECT, related_name="entries")
    item = models.ForeignKey(Item, on_delete=models.PROTECT, related_name="bundle_entries")
    # That the item's chain says so: a build that is taken up again says it once.
    recorded = models.BooleanField(default=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["bundle", "item"], name="item_once_per_bundle")]


from evidence.redaction.models import Redaction, RedactionLook  # noqa: E402  part of this floor's tables

__all__ = ["Bundle", "BundleItem", "Redaction", "RedactionLook"]
