"""Parts of pictures and words that somebody looked for. Derived: asked for and answered again at any time."""

import uuid

from django.db import models

from archive.models import Case, Item, User


class Part(models.Model):
    """A box in a picture, or in a moment of a video, that a model is asked to make a vector of. It tells nothing about who asked."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    item = models.ForeignKey(Item, on_delete=models.CASCADE, related_name="parts")
    # 0 for a picture
    at_ms = models.PositiveBigIntegerField(default=0)
    # Shares of the frame's width and height from its upper left corner
    x = models.DecimalField(max_digits=6, decimal_places=5)
    y = models.DecimalField(max_digits=6, decimal_places=5)
    width = models.DecimalField(max_digits=6, decimal_places=5)
    height = models.DecimalField(max_digits=6, decimal_places=5)
    asked_at = models.DateTimeField()
    # Why no model can look at it; empty while it waits and once it has vectors
    trouble = models.CharField(max_length=400, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["item", "at_ms", "x", "y", "width", "height"], name="part_asked_for_once"
            )
        ]


class PartVector(models.Model):
    """What one embedder made of a part: an analyser with its version, and the hash of the weights that it ran on."""

    part = models.ForeignKey(Part, on_delete=models.CASCADE, related_name="vectors")
    analyser = models.CharField(max_length=60)
    version = models.PositiveIntegerField()
    weights_sha256 = models.CharField(max_length=64, blank=True)
    # Little-endian 16-bit floats of length 1
    values = models.BinaryField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["part", "analyser", "version", "weights_sha256"], name="part_vector_once_per_embedder"
            )
        ]


class Phrase(models.Model):
    """Words for which pictures of a case are looked for, in a language (BCP 47), and who asked for them last."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    case = models.ForeignKey(Case, on_delete=models.CASCADE, related_name="phrases")
    words = models.CharField(max_length=300)
    language = models.CharField(max_length=35)
    # When it was asked for last, and by whom (not known of words that an earlier release kept)
    asked_at = models.DateTimeField()
    by = models.ForeignKey(User, null=True, on_delete=models.PROTECT, related_name="+")
    # Why no model can read it; empty while it waits and once it has a vector
    trouble = models.CharField(max_length=400, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["case", "words", "language"], name="phrase_asked_for_once")
        ]


class PhraseVector(models.Model):
    """What a text tower made of words: its analyser with its version, and the hash of the weights that it ran on."""

    phrase = models.ForeignKey(Phrase, on_delete=models.CASCADE, related_name="vectors")
    analyser = models.CharField(max_length=60)
    version = models.PositiveIntegerField()
    weights_sha256 = models.CharField(max_length=64, blank=True)
    # Little-endian 16-bit floats of length 1
    values = models.BinaryField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["phrase", "analyser", "version", "weights_sha256"],
                name="phrase_vector_once_per_tower",
            )
        ]
