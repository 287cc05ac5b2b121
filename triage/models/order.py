"""By which rules a case's items are ordered under each question, where each stands, and each order that was made."""

from decimal import Decimal
from typing import Any

from django.db import models
from django.utils.translation import gettext_lazy as _

from archive.models import Blob, Case, Item, Rendition, User
from archive.models.base import Custodial
from triage.models.questions import Question
from triage.models.sampling import OfQuestion


class Criteria(Custodial):
    """One version of the rules by which a question orders a case's items. Never changed: an edit is a further version."""

    recorded = ("case", "question", "number", "by", "at")
    private = ("name", "rules")
    derived = ("id",)

    case = models.ForeignKey(Case, on_delete=models.PROTECT, related_name="criteria")
    # The question's number in its case
    question = models.PositiveIntegerField(default=Question.MAIN)
    number = models.PositiveIntegerField()
    name = models.CharField(max_length=120)
    rules = models.JSONField()
    by = models.ForeignKey(User, null=True, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(
                fields=["case", "question", "number"], name="criteria_number_once_per_question"
            )
        ]

    def custody_subject(self) -> str:
        return f"case:{self.case_id}"


class Known(models.Model):
    """What was known of an item when rules were applied to it: values, and which analyses and notes were read.

    Never changed: what is known later is a further row. See triage.facts for its form.
    """

    item = models.ForeignKey(Item, on_delete=models.PROTECT, related_name="+")
    facts = models.JSONField()
    at = models.DateTimeField()


class Standing(models.Model):
    """Where an item stands under a question by rules alone, and why. Rebuilt by `manage.py triage rebuild`.

    Every item of a case has a row for each open question; none is left out for a low score. The order of review is a
    Ranking's; where there is none, it is band, then points from high to low, then arrival (the item's number).
    """

    class Band(models.IntegerChoices):
        SCORED = 0, _("scored")
        UNSCORED = 1, _("not scored: after those that are, oldest first")
        POSTPONED = 2, _("postponed: after the others")
        DECIDED = 3, _("decided")

    class State(models.TextChoices):
        WAITING = "waiting", _("No model has looked at this item yet.")
        SCORED = "scored", _("scored")
        UNREADABLE = "unreadable", _("No picture could be decoded, so no model has looked at it.")
        NOT_PICTURES = "not_pictures", _("Not a picture or a video: no model here reads such files.")
        FAILED = "failed", _("The model failed on this item.")

    item = models.ForeignKey(Item, on_delete=models.CASCADE, related_name="standings")
    case = models.ForeignKey(Case, on_delete=models.CASCADE, related_name="+")
    # The question's number in its case
    question = models.PositiveIntegerField(default=Question.MAIN)
    number = models.PositiveIntegerField()
    kind = models.CharField(max_length=10, choices=Item.Kind, default=Item.Kind.UNKNOWN)
    band = models.PositiveSmallIntegerField(choices=Band, default=Band.UNSCORED)
    state = models.CharField(max_length=12, choices=State, default=State.WAITING)
    # Thousandths of a point. Where no model has looked: what the rules say without one
    points = models.BigIntegerField(default=0)
    # Why it has no score, in words; empty for what `state` says already
    note = models.CharField(max_length=400, blank=True)
    reasons = models.JSONField(default=list, blank=True)
    # What the points rest on; none where nothing was looked at yet
    known = models.ForeignKey(Known, null=True, on_delete=models.PROTECT, related_name="+")
    # The criteria's number (0: the built-in ones) and the hash of their rules
    criteria = models.PositiveIntegerField(default=0)
    rules_sha256 = models.CharField(max_length=64, blank=True)
    postponed = models.BooleanField(default=False)
    scored_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["item", "question"], name="standing_once_per_question")
        ]
        indexes = [
            models.Index(fields=["case", "question", "band", "-points", "number"], name="order_of_review"),
            models.Index(fields=["case", "question", "number"], name="standing_by_arrival"),
            models.Index(fields=["case", "question", "band", "state"], name="standing_counts"),
        ]

    @property
    def value(self) -> Decimal | None:
        """The score by rules in points, or None where no model has looked."""
        return Decimal(self.points).scaleb(-3) if self.state == self.State.SCORED else None

    @property
    def why_unscored(self) -> str:
        """A sentence for people; empty for a scored item."""
        return "" if self.state == self.State.SCORED else self.note or str(self.State(self.state).label)


class Ordering(OfQuestion):
    """How a question's queue is put together, from this moment on. The newest counts; never changed."""

    recorded = ("question", "audit_percent", "refit_after", "waiting_days", "by", "at")
    derived = ("id",)

    question = models.ForeignKey(Question, on_delete=models.PROTECT, related_name="orderings")
    # Share of the queue that is drawn by lot, in percent
    audit_percent = models.PositiveSmallIntegerField(default=5)
    # Answers from one version of the order to the next
    refit_after = models.PositiveSmallIntegerField(default=5)
    # Days of waiting that raise an item by one point
    waiting_days = models.PositiveSmallIntegerField(default=10)
    by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()

    class Meta:
        ordering = ["at", "pk"]
        constraints = [
            models.CheckConstraint(
                name="ordering_within_bounds",
                condition=models.Q(audit_percent__lte=50, refit_after__gte=1, waiting_days__gte=1),
            )
        ]


class Example(Custodial):
    """Something that a person showed for what a question looks for: an item, a moment or a box in it, a picture, or words.

    It teaches the order and decides nothing: an item may still be waiting for its answer, and a picture is no item.
    """

    recorded = (
        "item",
        "picture",
        "question",
        "at_ms",
        "x",
        "y",
        "width",
        "height",
        "language",
        "by",
        "at",
        "ended_at",
    )
    private = ("reason", "file_name", "words")
    derived = ("id",)

    item = models.ForeignKey(Item, on_delete=models.PROTECT, null=True, related_name="examples")
    # The bytes of a picture from elsewhere; no evidence
    picture = models.ForeignKey(Blob, on_delete=models.PROTECT, null=True, related_name="example_pictures")
    file_name = models.CharField(max_length=255, blank=True)
    # For a text tower, with their language (BCP 47)
    words = models.CharField(max_length=300, blank=True)
    language = models.CharField(max_length=35, blank=True)
    question = models.ForeignKey(Question, on_delete=models.PROTECT, related_name="examples")
    # A moment of a video; none: the whole of it, or a picture
    at_ms = models.PositiveBigIntegerField(null=True)
    # Shares of the frame's width and height from its upper left corner; none: the whole frame
    x = models.DecimalField(max_digits=6, decimal_places=5, null=True)
    y = models.DecimalField(max_digits=6, decimal_places=5, null=True)
    width = models.DecimalField(max_digits=6, decimal_places=5, null=True)
    height = models.DecimalField(max_digits=6, decimal_places=5, null=True)
    reason = models.CharField(max_length=1000, blank=True)
    by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["at", "pk"]
        constraints = [
            models.CheckConstraint(
                name="example_is_an_item_a_picture_or_words",
                condition=models.Q(item__isnull=False, picture=None, words="")
                | models.Q(item=None, picture__isnull=False, words="")
                | (models.Q(item=None, picture=None) & ~models.Q(words="")),
            )
        ]

    def custody_subject(self) -> str:
        return f"item:{self.item_id}" if self.item_id else self.question.case.custody_subject()

    @property
    def box(self) -> tuple[float, float, float, float] | None:
        """x, y, width, height as shares of the frame, or None for the whole of it."""
        return None if self.x is None else tuple(map(float, (self.x, self.y, self.width, self.height)))  # type: ignore[return-value,arg-type]


class ExampleVector(models.Model):
    """What one embedder made of an example's box, picture or words. The whole frame stands for a box until a model has looked."""

    example = models.ForeignKey(Example, on_delete=models.CASCADE, related_name="vectors")
    embedder = models.CharField(max_length=120)
    # Little-endian 16-bit floats of length 1
    values = models.BinaryField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["example", "embedder"], name="example_vector_once_per_embedder")
        ]


class PictureLook(models.Model):
    """That models have looked at an example's picture, or read its words; `trouble` says why nothing came of it."""

    example = models.OneToOneField(Example, on_delete=models.CASCADE, related_name="look")
    at = models.DateTimeField()
    trouble = models.CharField(max_length=400, blank=True)


class SmallPicture(models.Model):
    """An example's picture, made small in the sandbox: a veil for whoever sees the case, a thumbnail for who asks for such."""

    example = models.ForeignKey(Example, on_delete=models.CASCADE, related_name="small")
    kind = models.CharField(max_length=20, choices=Rendition.Kind)
    blob = models.ForeignKey(Blob, on_delete=models.PROTECT, related_name="small_pictures")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["example", "kind"], name="small_picture_once_per_kind")
        ]


class Column(models.Model):
    """An array that rankings rest on, kept once under its hash however many of them share it."""

    sha256 = models.CharField(max_length=64, primary_key=True)
    # zlib, of a little-endian array
    data = models.BinaryField()


class Ranking(models.Model):
    """One version of the order of a question's items, with all that it was made from. Never changed."""

    class Start(models.TextChoices):
        NOTHING = "nothing", _("by rules only")
        EXAMPLES = "examples", _("by rules and likeness to examples")
        DECISIONS = "decisions", _("by rules and what was learned from answers")

    question = models.ForeignKey(Question, on_delete=models.PROTECT, related_name="rankings")
    number = models.PositiveIntegerField()
    at = models.DateTimeField()
    start = models.CharField(max_length=10, choices=Start)
    # triage.learning.LEARNER of then: another one gives other scores
    learner = models.PositiveSmallIntegerField(default=1)
    # Of the lot, as a decimal number
    seed = models.CharField(max_length=20)
    # The criteria's number, their rules and hash
    criteria = models.PositiveIntegerField()
    rules = models.JSONField()
    rules_sha256 = models.CharField(max_length=64)
    # Numbers of the question's Ordering, as they were
    settings = models.JSONField()
    # Embedder -> recipe, and the SHA-256 of the vectors as they were compared
    recipes = models.JSONField()
    vectors_sha256 = models.CharField(max_length=64, blank=True)
    # [item number, yes?, example?] in the order in which the learner got them
    labels = models.JSONField()
    # Name -> SHA-256 of a Column: see triage.ranking
    columns = models.JSONField()
    # How the parts are put together: see docs/triage.md. Numbers are text
    combination = models.JSONField()
    # Over the order: item numbers, scores and who came by lot
    sha256 = models.CharField(max_length=64)

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(fields=["question", "number"], name="ranking_number_once_per_question")
        ]

    def __str__(self) -> str:
        return f"{self.question_id}/{self.number}"

    @property
    def calibrated(self) -> bool:
        """Whether its chances rest on answers that the learner was fitted without."""
        return bool(self.combination.get("calibrated"))

    @property
    def vouched(self) -> dict[str, Any]:
        """What a decision stores of it."""
        return {"ranking": self.number, "ranking_sha256": self.sha256, "criteria": self.criteria}
