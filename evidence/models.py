"""Bundles: what was asked for, by whom and on which terms, what came of it, and to whom it was given."""

import uuid

from django.db import models
from django.utils.translation import gettext_lazy as _

from archive.models import Blob, Case, Checkpoint, Item, Source, User
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
        CANCELLED = "cancelled", _("cancelled")

    class Kept(models.TextChoices):
        VAULT = "vault", _("kept encrypted, for download")
        SHELL = "shell", _("written at the shell")

    class Destination(models.TextChoices):
        INTERNAL = "internal", _("internal: it stays with this organisation")
        PARTNER = "partner", _("partner organisation")
        COURT = "court", _("court or prosecutor")
        PUBLIC = "public", _("public")

    class Files(models.TextChoices):
        ORIGINALS = "originals", _("originals")
        REDACTED = "redacted", _("redacted files instead of originals")
        BOTH = "both", _("originals and redacted files")

    recorded = (
        "case",
        "item_count",
        "items_sha256",
        "disclosed",
        "destination",
        "files",
        "pictures",
        "recipient_keys",
        "volume_size",
        "key",
        "kept",
        "requested_by",
        "requested_at",
        "state",
        "size",
        "finished_at",
    )
    private = ("recipient", "basis", "approved_by", "recipient_names")
    derived = ("id", "problem")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    case = models.ForeignKey(Case, on_delete=models.PROTECT, related_name="bundles")
    item_count = models.PositiveIntegerField()
    # SHA-256 over the items' ids, sorted, each with a line feed: what was asked for, in one hash.
    items_sha256 = models.CharField(max_length=64)
    # Names of the groups of evidence.disclosure whose values are given out.
    disclosed = models.JSONField(default=list, blank=True)
    destination = models.CharField(max_length=8, choices=Destination, default=Destination.INTERNAL)
    files = models.CharField(max_length=9, choices=Files, default=Files.ORIGINALS)
    # Whether its report shows small pictures.
    pictures = models.BooleanField(default=True)
    # Who gets it, under which mandate or legal basis, who approved that.
    recipient = models.CharField(max_length=400, blank=True)
    basis = models.CharField(max_length=1000, blank=True)
    approved_by = models.CharField(max_length=400, blank=True)
    # The age keys that it is encrypted to, and the name of each key's holder, a line each in the same order.
    recipient_keys = models.JSONField(default=list, blank=True)
    recipient_names = models.TextField(blank=True, max_length=10_000)
    # Bytes of originals and redactions that one volume may hold; 0: all in one.
    volume_size = models.PositiveBigIntegerField(default=0)
    # Fingerprint of the key that signs it: SHA-256 of the raw Ed25519 public key.
    key = models.CharField(max_length=64)
    kept = models.CharField(max_length=8, choices=Kept, default=Kept.VAULT)
    requested_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    requested_at = models.DateTimeField()

    state = models.CharField(max_length=10, choices=State, default=State.REQUESTED)
    problem = models.CharField(max_length=1000, blank=True)
    # Bytes of all its volumes as they were written.
    size = models.PositiveBigIntegerField(null=True, blank=True)
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

    @property
    def ending(self) -> str:
        """How a volume's file name ends where it is one file."""
        return ".zip.age" if self.recipient_keys else ".zip"

    @property
    def keys(self) -> list[tuple[str, str]]:
        """Name and age key of each holder."""
        return named_keys(self.recipient_names, self.recipient_keys)

    def custody_subject(self) -> str:
        return f"bundle:{self.pk}"


def named_keys(names: str, keys: list[str]) -> list[tuple[str, str]]:
    """Names, a line each, with their keys."""
    return list(zip(names.split("\n"), keys, strict=False))


class OfBundle(Custodial):
    """A custodial row that belongs to one bundle's chain."""

    class Meta:
        abstract = True

    def custody_subject(self) -> str:
        return f"bundle:{self.bundle_id}"


class BundleVolume(OfBundle):
    """A finished part of a bundle, a whole bag by itself. Most bundles have one."""

    recorded = ("bundle", "number", "of", "item_count", "size", "blob", "statement_sha256", "built_at")
    derived = ("id",)

    bundle = models.ForeignKey(Bundle, on_delete=models.PROTECT, related_name="volumes")
    number = models.PositiveIntegerField()
    of = models.PositiveIntegerField()
    item_count = models.PositiveIntegerField()
    size = models.PositiveBigIntegerField()
    # The .zip or .zip.age in the vault; none where it was written at the shell.
    blob = models.ForeignKey(Blob, null=True, blank=True, on_delete=models.PROTECT, related_name="bundles")
    # SHA-256 of signature/statement.json: names the finished volume, whatever it is packed in.
    statement_sha256 = models.CharField(max_length=64)
    built_at = models.DateTimeField()

    class Meta:
        ordering = ["number"]
        constraints = [models.UniqueConstraint(fields=["bundle", "number"], name="volume_once_per_bundle")]

    @property
    def name(self) -> str:
        """Name of the volume's folder."""
        return volume_name(self.bundle.name, self.number, self.of)


def volume_name(bundle: str, number: int, of: int) -> str:
    """Name of a volume's folder: the bundle's, with its number where there are several."""
    return bundle if of == 1 else f"{bundle}-{number:0{len(str(of))}d}-of-{of}"


class BundleItem(models.Model):
    """An item that a bundle holds. Technical: the request's event commits to the list, each item's chain to its part."""

    bundle = models.ForeignKey(Bundle, on_delete=models.PROTECT, related_name="entries")
    item = models.ForeignKey(Item, on_delete=models.PROTECT, related_name="bundle_entries")
    # In which volume it lies; 0 until that is planned.
    volume = models.PositiveIntegerField(default=0)
    # That the item's chain says so: a build that is taken up again says it once.
    recorded = models.BooleanField(default=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["bundle", "item"], name="item_once_per_bundle")]


class BundleWork(models.Model):
    """How far the making of a bundle is, and what a later attempt needs to go on with it. Technical."""

    bundle = models.OneToOneField(Bundle, on_delete=models.PROTECT, primary_key=True, related_name="work")
    # The checkpoint that all volumes are cut at, once there is one.
    checkpoint = models.ForeignKey(Checkpoint, null=True, on_delete=models.PROTECT, related_name="+")
    step = models.CharField(max_length=20, blank=True)
    done = models.PositiveBigIntegerField(default=0)
    total = models.PositiveBigIntegerField(null=True)
    volume = models.PositiveIntegerField(default=0)
    volumes = models.PositiveIntegerField(default=0)
    beat_at = models.DateTimeField()


class ConsentOverride(Custodial):
    """That a named person gave a source's material out although what is recorded of its consent stands against it."""

    recorded = ("bundle", "source", "destination", "conflicts", "by", "at")
    private = ("reason",)
    derived = ("id",)

    bundle = models.ForeignKey(Bundle, on_delete=models.PROTECT, related_name="overrides")
    source = models.ForeignKey(Source, on_delete=models.PROTECT, related_name="consent_overrides")
    destination = models.CharField(max_length=8, choices=Bundle.Destination)
    # Codes of evidence.consent.RULES
    conflicts = models.JSONField()
    reason = models.CharField(max_length=1000)
    # None: the operator at the shell, whose name the event commits to.
    by = models.ForeignKey(User, null=True, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["bundle", "source"], name="override_once_per_source")]

    def custody_subject(self) -> str:
        return f"source:{self.source_id}"


class DisclosureRecord(OfBundle):
    """That a bundle left the archive: who got what, when, under which mandate, what was withheld, for which keys."""

    class Way(models.TextChoices):
        DOWNLOAD = "download", _("downloaded")
        SHELL = "shell", _("written at the shell")
        HANDED_ON = "handed_on", _("a copy was handed on")

    recorded = ("bundle", "volume", "way", "withheld", "recipient_keys", "by", "at")
    private = ("recipient", "basis", "approved_by", "recipient_names")
    derived = ("id",)

    bundle = models.ForeignKey(Bundle, on_delete=models.PROTECT, related_name="disclosures")
    # The volume that was given; none: all.
    volume = models.PositiveIntegerField(null=True)
    way = models.CharField(max_length=10, choices=Way)
    recipient = models.CharField(max_length=400, blank=True)
    basis = models.CharField(max_length=1000, blank=True)
    approved_by = models.CharField(max_length=400, blank=True)
    # Groups of evidence.disclosure that were not given.
    withheld = models.JSONField(default=list, blank=True)
    recipient_keys = models.JSONField(default=list, blank=True)
    recipient_names = models.TextField(blank=True, max_length=10_000)
    by = models.ForeignKey(User, null=True, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()

    class Meta:
        ordering = ["-at", "-pk"]
        indexes = [models.Index(fields=["bundle", "-at"], name="disclosure_by_bundle")]

    @property
    def keys(self) -> list[tuple[str, str]]:
        """Name and age key of each holder."""
        return named_keys(self.recipient_names, self.recipient_keys)


from evidence.redaction.models import Redaction, RedactionLook  # noqa: E402  part of this floor's tables

__all__ = [
    "Bundle",
    "BundleItem",
    "BundleVolume",
    "BundleWork",
    "ConsentOverride",
    "DisclosureRecord",
    "Redaction",
    "RedactionLook",
    "volume_name",
]
