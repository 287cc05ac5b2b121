"""What a video is made of: shots, and objects followed through them. Made from frames and detections, never evidence."""

from django.db import models

from archive.models import Item
from triage.models.analyses import Analysis


class Shot(models.Model):
    """A part of a video between two cuts, from its first frame to its last. Of the newest look at the item."""

    item = models.ForeignKey(Item, on_delete=models.CASCADE, related_name="shots")
    first_ms = models.PositiveBigIntegerField()
    last_ms = models.PositiveBigIntegerField()

    class Meta:
        ordering = ["first_ms"]
        constraints = [models.UniqueConstraint(fields=["item", "first_ms"], name="shot_begins_once")]


class Track(models.Model):
    """One object of an analysis, followed over time. Made of its detections and the item's shots: see triage.tracking."""

    analysis = models.ForeignKey(Analysis, on_delete=models.CASCADE, related_name="tracks")
    # From 1, in order of appearance
    number = models.PositiveIntegerField()
    label = models.CharField(max_length=60)
    first_ms = models.PositiveBigIntegerField()
    last_ms = models.PositiveBigIntegerField()
    # At its surest moment: 0 to 1 as the model gives it, not calibrated, with that moment's box
    confidence = models.DecimalField(max_digits=5, decimal_places=4)
    at_ms = models.PositiveBigIntegerField()
    x = models.DecimalField(max_digits=6, decimal_places=5)
    y = models.DecimalField(max_digits=6, decimal_places=5)
    width = models.DecimalField(max_digits=6, decimal_places=5)
    height = models.DecimalField(max_digits=6, decimal_places=5)
    # How many detections it was joined from
    boxes = models.PositiveIntegerField()

    class Meta:
        ordering = ["number"]
        constraints = [models.UniqueConstraint(fields=["analysis", "number"], name="track_once")]
