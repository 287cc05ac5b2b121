"""Which items show the same picture: their fingerprints, and the groups that follow from them."""

from django.db import models

from archive.models import Case, Item


class Fingerprint(models.Model):
    """Perceptual hashes of one picture (an item, or one frame of a video). Rebuilt by `manage.py triage near`.

    `bits` holds, one after the other, the hash of the whole picture and those of its windows: see triage.near.
    """

    item = models.ForeignKey(Item, on_delete=models.CASCADE, related_name="fingerprints")
    at_ms = models.PositiveBigIntegerField()
    method = models.PositiveSmallIntegerField()
    bits = models.BinaryField()

    class Meta:
        ordering = ["item", "at_ms"]
        constraints = [models.UniqueConstraint(fields=["item", "at_ms"], name="fingerprint_once_per_frame")]


class Near(models.Model):
    """The group of an item: the number of the first item among all that are tied to it, its own when it stands alone."""

    item = models.OneToOneField(Item, on_delete=models.CASCADE, primary_key=True, related_name="near")
    case = models.ForeignKey(Case, on_delete=models.CASCADE, related_name="+")
    number = models.PositiveIntegerField()
    group = models.PositiveIntegerField()

    class Meta:
        indexes = [models.Index(fields=["case", "group", "number"], name="near_by_group")]
