"""What a machine made of a case as a whole, and not of one item after the other."""

from django.db import models

from archive.models import Case
from archive.models.base import Custodial
from triage.models.analyses import Analysis


class CaseAnalysis(Custodial):
    """An analyser has compared the items of a case with each other. Never changed: what is found later is a further row.

    Its arrays are Columns: `pool` (item numbers), `has` (which embedders each has), `scores` (see triage.unusual).
    """

    recorded = (
        "case",
        "number",
        "task",
        "analyser",
        "version",
        "model",
        "parameters",
        "recipes",
        "vectors_sha256",
        "items",
        "with_vectors",
        "started_at",
        "finished_at",
        "result_sha256",
    )
    derived = ("id", "columns")

    case = models.ForeignKey(Case, on_delete=models.PROTECT, related_name="case_analyses")
    number = models.PositiveIntegerField()
    task = models.CharField(max_length=20, choices=Analysis.Task)
    analyser = models.CharField(max_length=60)
    version = models.PositiveIntegerField()
    # The library and its version
    model = models.CharField(max_length=120)
    # The seed is among them
    parameters = models.JSONField()
    # Embedder -> recipe, and the SHA-256 of the vectors as they were compared
    recipes = models.JSONField()
    vectors_sha256 = models.CharField(max_length=64)
    items = models.PositiveIntegerField()
    # Items that had a vector, those that are held no longer too
    with_vectors = models.PositiveIntegerField()
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField()
    # Over item numbers and scores, as the arrays are stored
    result_sha256 = models.CharField(max_length=64)
    # Name -> SHA-256 of a Column
    columns = models.JSONField()

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(
                fields=["case", "analyser", "number"], name="case_analysis_number_once_per_analyser"
            )
        ]

    def custody_subject(self) -> str:
        return f"case:{self.case_id}"
