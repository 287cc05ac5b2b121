"""Draws by lot, blind second readings, and second looks: what the estimates of what was missed rest on."""

import uuid

from django.db import models

from archive.models import Item, User
from archive.models.base import Custodial
from archive.models.items import OfItem
from triage.models.questions import Question


class OfQuestion(Custodial):
    """A custodial row whose events belong to the chain of its question's case."""

    class Meta:
        abstract = True

    def custody_subject(self) -> str:
        return f"case:{self.question.case_id}"


class Draw(OfQuestion):
    """A person drew items by lot out of all that nobody had answered at that moment. Never changed afterwards.

    The lot: numbers of the pool in the order of SHA-256("seed:number"); drawn are the first of them.
    """

    recorded = (
        "question",
        "number",
        "seed",
        "unseen",
        "answered",
        "found",
        "last",
        "pool_sha256",
        "drawn",
        "by",
        "at",
    )
    derived = ("id", "pool")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    question = models.ForeignKey(Question, on_delete=models.PROTECT, related_name="draws")
    number = models.PositiveIntegerField()
    seed = models.CharField(max_length=64)
    # How many items stood in the pool, how many had an answer and how many of these were yes, at the draw
    unseen = models.PositiveIntegerField()
    answered = models.PositiveIntegerField()
    found = models.PositiveIntegerField()
    # The highest item number in the case: what came in after it is not spoken of
    last = models.PositiveIntegerField()
    # One bit for each item number from 0, the first in the highest bit of the first byte; its SHA-256 is in the log
    pool = models.BinaryField()
    pool_sha256 = models.CharField(max_length=64)
    # Item numbers in the order in which they are to be read
    drawn = models.JSONField()
    by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()

    class Meta:
        ordering = ["number"]
        constraints = [
            models.UniqueConstraint(fields=["question", "number"], name="draw_number_once_per_question")
        ]


class SecondShare(OfQuestion):
    """Which share of a question's items a second person reads, from this moment on. 0: none."""

    recorded = ("question", "percent", "seed", "by", "at")
    derived = ("id",)

    question = models.ForeignKey(Question, on_delete=models.PROTECT, related_name="second_shares")
    percent = models.PositiveSmallIntegerField()
    # An item is in the share when SHA-256("seed:number") lies in the lowest percent of all values
    seed = models.CharField(max_length=64)
    by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()

    class Meta:
        ordering = ["at", "pk"]
        constraints = [
            models.CheckConstraint(name="share_is_a_percentage", condition=models.Q(percent__lte=100))
        ]


class SecondReading(OfItem):
    """What a second person answered about an item, without having seen the first answer. It replaces nothing."""

    recorded = ("item", "question", "value", "by", "at", "first", "first_value")
    private = ("reason",)
    derived = ("id",)

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    item = models.ForeignKey(Item, on_delete=models.PROTECT, related_name="second_readings")
    question = models.ForeignKey(Question, on_delete=models.PROTECT, related_name="second_readings")
    # yes, no or unsure, whatever words the question's own answers have
    value = models.CharField(max_length=12)
    reason = models.CharField(max_length=4000, blank=True)
    by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()
    # The answer (or decision) that was in force when this was given, and what it said
    first = models.UUIDField()
    first_value = models.CharField(max_length=12)

    class Meta:
        ordering = ["at", "pk"]
        constraints = [models.UniqueConstraint(fields=["item", "question"], name="read_again_once")]


class SecondLook(OfItem):
    """A person looked again at an answer that the other answers contradict, and left it as it is."""

    recorded = ("item", "question", "answer", "by", "at")
    private = ("reason",)
    derived = ("id",)

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    item = models.ForeignKey(Item, on_delete=models.PROTECT, related_name="second_looks")
    question = models.ForeignKey(Question, on_delete=models.PROTECT, related_name="second_looks")
    # The answer (or decision) that was looked at
    answer = models.UUIDField()
    reason = models.CharField(max_length=4000, blank=True)
    by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()


class Doubt(models.Model):
    """That the other answers contradict this one. Rebuilt by the job triage.doubtful; a hint where to look again."""

    question = models.ForeignKey(Question, on_delete=models.CASCADE, related_name="doubts")
    item = models.ForeignKey(Item, on_delete=models.CASCADE, related_name="doubts")
    place = models.PositiveIntegerField()
    # The answer (or decision) that is contradicted
    answer = models.UUIDField()
    # "numbers" of the items most like it that were answered the other way, "models" that compared them
    like = models.JSONField()
    # How many answers it was compared with, and when
    among = models.PositiveIntegerField()
    at = models.DateTimeField()

    class Meta:
        ordering = ["place"]
        constraints = [models.UniqueConstraint(fields=["question", "item"], name="doubt_once_per_item")]
