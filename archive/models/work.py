"""Work to do and bytes on their way in. Technical: not part of the custody log."""

import uuid

from django.db import models
from django.utils.translation import gettext_lazy as _

from archive.models.cases import Case, Source
from archive.models.items import Item
from archive.models.people import User


class Job(models.Model):
    """One piece of work. The row is the truth; a message only wakes a worker."""

    class State(models.TextChoices):
        QUEUED = "queued", _("waiting")
        RUNNING = "running", _("running")
        DONE = "done", _("done")
        FAILED = "failed", _("stopped after repeated failure")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=60)
    queue = models.CharField(max_length=20)
    item = models.ForeignKey(Item, null=True, on_delete=models.PROTECT, related_name="jobs")
    case = models.ForeignKey(Case, null=True, on_delete=models.PROTECT, related_name="jobs")
    payload = models.JSONField(default=dict)
    # Only one unfinished job may carry a given key.
    key = models.CharField(max_length=160, null=True)
    state = models.CharField(max_length=8, choices=State, default=State.QUEUED)
    attempts = models.PositiveSmallIntegerField(default=0)
    error = models.TextField(blank=True)
    run_after = models.DateTimeField()
    woken_at = models.DateTimeField(null=True)
    lease_until = models.DateTimeField(null=True)
    worker = models.CharField(max_length=80, blank=True)
    created_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["key"],
                condition=models.Q(state__in=["queued", "running"]),
                name="unfinished_job_once",
            )
        ]
        indexes = [
            models.Index(
                fields=["queue", "name", "run_after", "created_at"],
                condition=models.Q(state="queued"),
                name="job_waiting",
            ),
            models.Index(fields=["lease_until"], condition=models.Q(state="running"), name="job_running"),
            models.Index(fields=["state", "-created_at"], name="job_by_state"),
        ]


class WorkerBeat(models.Model):
    """That a worker process is alive, and which queues it serves."""

    name = models.CharField(max_length=80, primary_key=True)
    queues = models.CharField(max_length=200)
    beat_at = models.DateTimeField()


class Duty(models.Model):
    """When a periodic duty was last asked for and last done, so that one that did not run can be seen."""

    name = models.CharField(max_length=60, primary_key=True)
    known_since = models.DateTimeField()
    asked_at = models.DateTimeField(null=True)
    done_at = models.DateTimeField(null=True)
    failed_at = models.DateTimeField(null=True)
    error = models.TextField(blank=True)


class Alarm(models.Model):
    """Something wrong with the archive, since when, and until when. `about` and `kind` name it once while it lasts."""

    kind = models.CharField(max_length=40)
    about = models.CharField(max_length=400, blank=True)
    raised_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    mailed_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-raised_at", "-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "about"],
                condition=models.Q(ended_at=None),
                name="alarm_once_while_it_lasts",
            )
        ]


class Upload(models.Model):
    """A file on its way in by the web (tus 1.0). Its parts lie encrypted in the vault's staging folder."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    case = models.ForeignKey(Case, on_delete=models.PROTECT, related_name="+")
    by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    source = models.ForeignKey(Source, null=True, on_delete=models.PROTECT, related_name="+")
    file_name = models.CharField(max_length=1024)
    path = models.CharField(max_length=4096, blank=True)
    url = models.CharField(max_length=4096, blank=True)
    length = models.PositiveBigIntegerField()
    offset = models.PositiveBigIntegerField(default=0)
    expected_sha256 = models.CharField(max_length=64, blank=True)
    # What the browser knows the same file by after it was closed: a hash of size, date and both ends; no name.
    fingerprint = models.CharField(max_length=64, blank=True)
    item = models.ForeignKey(Item, null=True, on_delete=models.PROTECT, related_name="+")
    already_held = models.BooleanField(default=False)
    created_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)


class UploadPart(models.Model):
    """A run of an upload's bytes, kept as a blob of its own until the file is whole."""

    upload = models.ForeignKey(Upload, on_delete=models.CASCADE, related_name="parts")
    start = models.PositiveBigIntegerField()
    size = models.PositiveBigIntegerField()
    stored_as = models.CharField(max_length=80)

    class Meta:
        ordering = ["start"]
        constraints = [models.UniqueConstraint(fields=["upload", "start"], name="upload_part_once")]
