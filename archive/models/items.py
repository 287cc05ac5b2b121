"""Item and what belongs to it: bytes, acquisitions, claims, findings, renditions."""

import uuid

from django.db import models
from django.utils.translation import gettext_lazy as _

from archive.models.base import Custodial
from archive.models.cases import Case, Source
from archive.models.people import User


class BlobQuerySet(models.QuerySet):
    """Questions about stored bytes."""

    def expected(self) -> "BlobQuerySet":
        """Bytes that have to be in the vault: all but those that were disposed of, so far as no item still has them."""
        held = Item.objects.filter(blob=models.OuterRef("pk"), disposed_at=None)
        return self.filter(models.Q(destroyed_at=None) | models.Exists(held))


class Blob(models.Model):
    """Bytes that the vault holds, by content. Technical: what they mean is an Item or a Rendition."""

    class Fixity(models.TextChoices):
        NEVER = "", _("never checked")
        GOOD = "good", _("good")
        BAD = "bad", _("bad")
        UNREAD = "unread", _("could not be read")

    GONE = "gone"  # in place of a name in quarantine, where there were no bytes to set aside

    sha256 = models.CharField(max_length=64, primary_key=True)
    size = models.PositiveBigIntegerField()
    stored_at = models.DateTimeField()

    # What the last check of the stored bytes answered, and what that of the second copy did
    fixity = models.CharField(max_length=6, choices=Fixity, blank=True)
    checked_at = models.DateTimeField(null=True, db_index=True)
    # Damaged bytes wait in the vault's quarantine under this name until good ones are back in their place
    set_aside = models.CharField(max_length=100, blank=True)
    copied_at = models.DateTimeField(null=True)
    copy_fixity = models.CharField(max_length=6, choices=Fixity, blank=True)
    copy_checked_at = models.DateTimeField(null=True)

    # When the bytes were destroyed by an approved disposal and no other row named them.
    destroyed_at = models.DateTimeField(null=True)

    objects = BlobQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["fixity", "checked_at"], name="blob_by_fixity"),
            models.Index(
                fields=["stored_at"], condition=models.Q(copied_at=None), name="blob_without_second_copy"
            ),
        ]


class ItemQuerySet(models.QuerySet):
    """Questions about items."""

    def visible_to(self, user: User) -> "ItemQuerySet":
        """Items of the cases that were shared with this person."""
        from archive import access

        return self.filter(case_id__in=access.shared_case_ids(user))

    def holding(self, case: Case, sha256: str) -> "Item | None":
        """The item of a case that has these bytes."""
        return self.filter(case=case, blob_id=sha256).first()

    def held(self) -> "ItemQuerySet":
        """Items whose bytes have not been disposed of."""
        return self.filter(disposed_at=None)

    def awaiting_review(self) -> "ItemQuerySet":
        """Items on which no decision is in force."""
        return self.filter(decision=None)


class Item(Custodial):
    """One original file, immutable, in one case."""

    class Kind(models.TextChoices):
        IMAGE = "image", _("image")
        VIDEO = "video", _("video")
        AUDIO = "audio", _("audio")
        DOCUMENT = "document", _("document")
        OTHER = "other", _("other")
        UNKNOWN = "unknown", _("not yet known")

    recorded = (
        "case",
        "number",
        "blob",
        "size",
        "source",
        "received_at",
        "kind",
        "media_type",
        "condition",
        "width",
        "height",
        "duration_ms",
        "examined_at",
        "read_back_at",
        "decision",
        "disposed_at",
        "disposal",
    )
    private = ("condition_detail", "file_name")
    derived = ("id", "technical")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    case = models.ForeignKey(Case, on_delete=models.PROTECT, related_name="items")
    number = models.PositiveIntegerField()
    blob = models.ForeignKey(Blob, on_delete=models.PROTECT, related_name="items")
    size = models.PositiveBigIntegerField()
    source = models.ForeignKey(Source, null=True, on_delete=models.PROTECT, related_name="items")
    received_at = models.DateTimeField(db_index=True)
    # The first acquisition's name, repeated for lists
    file_name = models.CharField(max_length=1024)

    # Found by examining the bytes; empty until then
    kind = models.CharField(max_length=10, choices=Kind, default=Kind.UNKNOWN)
    media_type = models.CharField(max_length=120, blank=True)
    condition = models.CharField(max_length=24, blank=True)
    condition_detail = models.CharField(max_length=1000, blank=True)
    width = models.PositiveIntegerField(null=True)
    height = models.PositiveIntegerField(null=True)
    duration_ms = models.PositiveBigIntegerField(null=True)
    technical = models.JSONField(default=dict, blank=True)
    examined_at = models.DateTimeField(null=True)

    read_back_at = models.DateTimeField(null=True)
    decision = models.ForeignKey("archive.Decision", null=True, on_delete=models.PROTECT, related_name="+")

    # When its bytes were destroyed, and by which request. Its history stays.
    disposed_at = models.DateTimeField(null=True)
    disposal = models.ForeignKey("archive.Disposal", null=True, on_delete=models.PROTECT, related_name="+")

    objects = ItemQuerySet.as_manager()

    class Meta:
        ordering = ["case", "number"]
        constraints = [
            models.UniqueConstraint(fields=["case", "blob"], name="same_bytes_once_per_case"),
            models.UniqueConstraint(fields=["case", "number"], name="item_number_once_per_case"),
        ]
        indexes = [
            models.Index(fields=["case", "kind", "number"], name="item_by_kind"),
            models.Index(fields=["case", "decision", "number"], name="item_by_decision"),
        ]

    def __str__(self) -> str:
        return self.code

    @property
    def code(self) -> str:
        """What people call it: the case's code and the item's number."""
        return f"{self.case.code}/{self.number:04d}"

    @property
    def sha256(self) -> str:
        """SHA-256 of the original, 64 hex digits."""
        return self.blob_id

    def custody_subject(self) -> str:
        return f"item:{self.pk}"


class OfItem(Custodial):
    """A custodial row that belongs to one item's chain."""

    class Meta:
        abstract = True

    def custody_subject(self) -> str:
        return f"item:{self.item_id}"


class Acquisition(OfItem):
    """One time that the bytes came in: how, when, by whom, with what tool, under which name."""

    class Method(models.TextChoices):
        COMMAND = "command", _("command line")
        UPLOAD = "upload", _("web upload")
        API = "api", _("API")

    recorded = ("item", "at", "method", "tool", "source")
    private = ("by", "file_name", "path", "url")
    derived = ("id",)

    item = models.ForeignKey(Item, on_delete=models.PROTECT, related_name="acquisitions")
    at = models.DateTimeField()
    by = models.CharField(max_length=200)
    method = models.CharField(max_length=10, choices=Method)
    tool = models.CharField(max_length=200)
    file_name = models.CharField(max_length=1024)
    path = models.CharField(max_length=4096, blank=True)
    url = models.CharField(max_length=4096, blank=True)
    source = models.ForeignKey(Source, null=True, on_delete=models.PROTECT, related_name="acquisitions")

    class Meta:
        ordering = ["at", "pk"]


class Statement(OfItem):
    """When, where or with what something was captured. Unknown is a value, not an omission."""

    class About(models.TextChoices):
        CAPTURED_AT = "captured_at", _("captured")
        PLACE = "place", _("place")
        DEVICE = "device", _("device")
        SOFTWARE = "software", _("software")
        AUTHOR = "author", _("author")
        TITLE = "title", _("title")

    class Precision(models.TextChoices):
        SECOND = "second", _("to the second")
        MINUTE = "minute", _("to the minute")
        HOUR = "hour", _("to the hour")
        DAY = "day", _("to the day")
        MONTH = "month", _("to the month")
        YEAR = "year", _("to the year")
        UNKNOWN = "unknown", _("unknown")

    about = models.CharField(max_length=12, choices=About)
    text = models.CharField(max_length=1000, blank=True)
    # Local time as claimed, ISO 8601 without zone; the offset is "+03:00", "Z" or "" for no zone.
    local_time = models.CharField(max_length=32, blank=True)
    utc_offset = models.CharField(max_length=6, blank=True)
    precision = models.CharField(max_length=8, choices=Precision, default=Precision.UNKNOWN)
    latitude = models.DecimalField(max_digits=9, decimal_places=6, null=True)
    longitude = models.DecimalField(max_digits=9, decimal_places=6, null=True)
    radius_m = models.PositiveIntegerField(null=True)
    at = models.DateTimeField()

    class Meta:
        abstract = True
        ordering = ["about", "at", "pk"]


STATEMENT_FIELDS = ("text", "local_time", "utc_offset", "precision", "latitude", "longitude", "radius_m")


class Claim(Statement):
    """What the file or its source says. `origin` names where the claim comes from (exif, file name, source ...)."""

    recorded = ("item", "about", "origin", "at", "precision", "utc_offset", "radius_m")
    private = ("text", "local_time", "latitude", "longitude")
    derived = ("id",)

    item = models.ForeignKey(Item, on_delete=models.PROTECT, related_name="claims")
    origin = models.CharField(max_length=40)


class Finding(Statement):
    """What an analyst established, on which basis."""

    recorded = ("item", "about", "by", "at", "precision", "utc_offset", "radius_m")
    private = ("text", "local_time", "latitude", "longitude", "basis")
    derived = ("id",)

    item = models.ForeignKey(Item, on_delete=models.PROTECT, related_name="findings")
    by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    basis = models.CharField(max_length=4000)


class RenditionManager(models.Manager):
    """Those whose bytes are there."""

    def get_queryset(self) -> models.QuerySet:
        """All but those that were destroyed with their original; their rows stay, as history does."""
        return super().get_queryset().filter(destroyed_at=None)


class Rendition(OfItem):
    """A picture or video made from an original, tied to its hash and to the recipe that made it."""

    class Kind(models.TextChoices):
        THUMBNAIL = "thumbnail", _("thumbnail")
        VEIL = "veil", _("veil")
        VIEW = "view", _("view")
        POSTER = "poster", _("poster frame")
        STORYBOARD = "storyboard", _("storyboard")
        PROXY = "proxy", _("proxy video")
        REDACTED = "redacted", _("redacted")
        REDACTED_THUMBNAIL = "redacted_thumbnail", _("thumbnail of the redacted")

    recorded = (
        "item",
        "kind",
        "original_sha256",
        "recipe",
        "blob",
        "media_type",
        "width",
        "height",
        "made_at",
        "destroyed_at",
    )
    derived = ("id",)

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    item = models.ForeignKey(Item, on_delete=models.PROTECT, related_name="renditions")
    kind = models.CharField(max_length=20, choices=Kind)
    original_sha256 = models.CharField(max_length=64)
    recipe = models.CharField(max_length=400)
    blob = models.ForeignKey(Blob, on_delete=models.PROTECT, related_name="renditions")
    media_type = models.CharField(max_length=120)
    width = models.PositiveIntegerField(null=True)
    height = models.PositiveIntegerField(null=True)
    made_at = models.DateTimeField()
    destroyed_at = models.DateTimeField(null=True)

    objects = RenditionManager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["item", "kind", "recipe"],
                condition=models.Q(destroyed_at=None),
                name="rendition_once_per_recipe",
            )
        ]
