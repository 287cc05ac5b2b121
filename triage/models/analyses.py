"""What models said about items: objects, classes, vectors. Suggestions, never decisions."""

import uuid

from django.db import models
from django.utils.translation import gettext_lazy as _

from archive.models import Case, Item
from archive.models.items import OfItem


class Analysis(OfItem):
    """One analyser has looked at one item, with this model and these parameters. Never changed afterwards."""

    class Task(models.TextChoices):
        DETECT = "detect", _("objects")
        FACE = "face", _("faces, counted")
        CLASSIFY = "classify", _("tags of scenes and objects")
        EMBED = "embed", _("likeness to other pictures")
        TEXT = "text", _("text in pictures")
        CLIP = "clip", _("activities in clips")
        ANOMALY = "anomaly", _("unusual within the case")
        INDICATOR = "indicator", _("indicators of generated or changed media")
        CAPTION = "caption", _("captions of pictures")

    recorded = (
        "item",
        "task",
        "analyser",
        "version",
        "model",
        "weights_sha256",
        "parameters",
        "started_at",
        "finished_at",
        "frames",
        "found",
        "truncated",
        "result_sha256",
    )
    derived = ("id", "recipe", "looked_at_ms")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    item = models.ForeignKey(Item, on_delete=models.PROTECT, related_name="analyses")
    task = models.CharField(max_length=20, choices=Task)
    analyser = models.CharField(max_length=60)
    version = models.PositiveIntegerField()
    # The registered name, or the library and its version for a detector that comes inside one.
    model = models.CharField(max_length=120)
    weights_sha256 = models.CharField(max_length=64, blank=True)
    parameters = models.JSONField(default=dict, blank=True)
    # SHA-256 over analyser, version, model, weights and parameters: the same recipe is run once on an item.
    recipe = models.CharField(max_length=64)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField()
    frames = models.PositiveIntegerField()
    looked_at_ms = models.JSONField(default=list, blank=True)
    found = models.PositiveIntegerField()
    truncated = models.BooleanField(default=False)
    # SHA-256 of the canonical result: see triage.results.
    result_sha256 = models.CharField(max_length=64)

    class Meta:
        ordering = ["finished_at", "pk"]
        constraints = [models.UniqueConstraint(fields=["item", "recipe"], name="recipe_once_per_item")]


class Detection(models.Model):
    """A suggestion of a model: something that may be seen here. Its analysis's event covers it by result_sha256."""

    analysis = models.ForeignKey(Analysis, on_delete=models.PROTECT, related_name="detections")
    at_ms = models.PositiveBigIntegerField()
    label = models.CharField(max_length=60)
    # 0 to 1 as the model gives it, not calibrated
    confidence = models.DecimalField(max_digits=5, decimal_places=4)
    # Shares of the frame's width and height, from its upper left corner
    x = models.DecimalField(max_digits=6, decimal_places=5)
    y = models.DecimalField(max_digits=6, decimal_places=5)
    width = models.DecimalField(max_digits=6, decimal_places=5)
    height = models.DecimalField(max_digits=6, decimal_places=5)

    class Meta:
        ordering = ["at_ms", "pk"]


class Seen(models.Model):
    """That a class or tag is among an item's suggestions now. Rebuilt from them; here for filters and lists.

    `most_at_once` counts boxes in the fullest frame: none for what has tags only.
    """

    item = models.ForeignKey(Item, on_delete=models.CASCADE, related_name="seen")
    case = models.ForeignKey(Case, on_delete=models.CASCADE, related_name="+")
    label = models.CharField(max_length=60)
    confidence = models.DecimalField(max_digits=5, decimal_places=4)
    most_at_once = models.PositiveIntegerField()

    class Meta:
        ordering = ["-confidence", "label"]
        constraints = [models.UniqueConstraint(fields=["item", "label"], name="class_once_per_item")]
        indexes = [models.Index(fields=["case", "label"], name="seen_by_class")]


class Tagged(models.Model):
    """A suggestion of a model about a whole frame, or a span of a video. Its analysis's event covers it by result_sha256."""

    analysis = models.ForeignKey(Analysis, on_delete=models.PROTECT, related_name="tags")
    at_ms = models.PositiveBigIntegerField()
    # The end of the span that it is about; None: one frame
    until_ms = models.PositiveBigIntegerField(null=True)
    label = models.CharField(max_length=60)
    # 0 to 1 as the model gives it, not calibrated
    confidence = models.DecimalField(max_digits=5, decimal_places=4)

    class Meta:
        ordering = ["at_ms", "pk"]


class ReadText(models.Model):
    """Words that may stand in a frame, as an engine read them. Its analysis's event covers it by result_sha256."""

    analysis = models.ForeignKey(Analysis, on_delete=models.PROTECT, related_name="words")
    at_ms = models.PositiveBigIntegerField()
    text = models.CharField(max_length=500)
    confidence = models.DecimalField(max_digits=5, decimal_places=4)
    x = models.DecimalField(max_digits=6, decimal_places=5)
    y = models.DecimalField(max_digits=6, decimal_places=5)
    width = models.DecimalField(max_digits=6, decimal_places=5)
    height = models.DecimalField(max_digits=6, decimal_places=5)

    class Meta:
        ordering = ["at_ms", "pk"]


class Caption(models.Model):
    """A sentence in which a model described a frame. Its analysis's event covers it by result_sha256."""

    analysis = models.ForeignKey(Analysis, on_delete=models.PROTECT, related_name="captions")
    at_ms = models.PositiveBigIntegerField()
    text = models.CharField(max_length=500)
    # 0 to 1: how sure the model was of its words, not calibrated
    confidence = models.DecimalField(max_digits=5, decimal_places=4)

    class Meta:
        ordering = ["at_ms", "pk"]


class Vector(models.Model):
    """What one embedder made of a picture, or of one frame of a video. Its analysis's event covers it by result_sha256.

    Vectors of different recipes are never compared with each other.
    """

    analysis = models.ForeignKey(Analysis, on_delete=models.PROTECT, related_name="vectors")
    at_ms = models.PositiveBigIntegerField()
    # Little-endian 16-bit floats of length 1 (as many as the embedder's width)
    values = models.BinaryField()
    # It stands for the item: a picture's only one, or the mean of a video's frames (which has at_ms 0)
    whole = models.BooleanField(default=False)

    class Meta:
        ordering = ["at_ms", "pk"]
        constraints = [
            models.UniqueConstraint(fields=["analysis", "at_ms", "whole"], name="vector_once_per_frame")
        ]
