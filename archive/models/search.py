"""What can be found by text. Derived: made again from the rows that it repeats."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from archive.models.items import Item


class Words(models.Model):
    """All words of one origin about one item, normalised (archive.search says how)."""

    class Origin(models.TextChoices):
        FILE = "file", _("names that the file came with")
        CLAIM = "claim", _("what the file or its source claims")
        TAG = "tag", _("tags by people")
        NOTE = "note", _("notes by people")
        FINDING = "finding", _("what people established")
        SUGGESTED = "suggested", _("tags that a machine suggests")
        READ = "read", _("text that a machine read in the picture")
        CAPTION = "caption", _("machine caption")

    item = models.ForeignKey(Item, on_delete=models.CASCADE, related_name="words")
    origin = models.CharField(max_length=10, choices=Origin)
    text = models.TextField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["item", "origin"], name="words_once_per_origin")]
