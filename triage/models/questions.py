"""Lines of inquiry: what a case asks of its items, and what people answered."""

import uuid

from django.db import models
from django.utils.translation import gettext_lazy as _

from archive.models import Case, Item, User
from archive.models.base import Custodial
from archive.models.items import OfItem


class Question(Custodial):
    """A line of inquiry, such as 'shows damage to a medical facility'. Its text never changes; it can be closed.

    Number 0 is there in every case: whether an item is relevant to the case at all. Its answers are the decisions.
    """

    recorded = ("case", "number", "by", "at", "closed_at")
    private = ("text",)
    derived = ("id",)

    MAIN = 0

    case = models.ForeignKey(Case, on_delete=models.PROTECT, related_name="questions")
    number = models.PositiveIntegerField()
    text = models.CharField(max_length=300, blank=True)
    by = models.ForeignKey(User, null=True, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["number"]
        constraints = [
            models.UniqueConstraint(fields=["case", "number"], name="question_number_once_per_case")
        ]

    def __str__(self) -> str:
        return self.text or str(_("Is it relevant to the case?"))

    def custody_subject(self) -> str:
        return f"case:{self.case_id}"


class Answer(OfItem):
    """What a signed-in person answered to a question about an item. Immutable; a withdrawal is a row of its own.

    In force is, of each item and question, the newest that was not withdrawn. Questions of number 0 have decisions
    (archive.models.Decision) and no answers.
    """

    class Value(models.TextChoices):
        YES = "yes", _("yes")
        NO = "no", _("no")
        UNSURE = "unsure", _("cannot tell")
        WITHDRAWN = "withdrawn", _("withdrawn")

    recorded = ("item", "question", "value", "by", "at", "withdraws")
    private = ("reason", "shown")
    derived = ("id",)

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    item = models.ForeignKey(Item, on_delete=models.PROTECT, related_name="answers")
    question = models.ForeignKey(Question, on_delete=models.PROTECT, related_name="answers")
    value = models.CharField(max_length=12, choices=Value)
    reason = models.CharField(max_length=4000, blank=True)
    by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()
    withdraws = models.OneToOneField(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="withdrawn_by"
    )
    # What the person saw of the ranking: its version, place, score and reasons, and whether it came by lot.
    shown = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering = ["at", "pk"]
        constraints = [
            models.CheckConstraint(
                name="answer_withdrawal_names_what_it_withdraws",
                condition=models.Q(value="withdrawn", withdraws__isnull=False)
                | (~models.Q(value="withdrawn") & models.Q(withdraws=None)),
            )
        ]
