"""The domain's rows, by aggregate."""

from archive.models.cases import Case, CaseCounter, CaseGrant, Source
from archive.models.items import Acquisition, Blob, Claim, Finding, Item, Rendition
from archive.models.log import (
    Checkpoint,
    CustodyEvent,
    CustodyOpening,
    CustodyPending,
    CustodyPosition,
    CustodySubject,
)
from archive.models.people import SignInLink, User
from archive.models.review import Assignment, Decision, ItemTag, Note, Postponement, Tag
from archive.models.work import Job, Upload, UploadPart, WorkerBeat

__all__ = [
    "Acquisition",
    "Assignment",
    "Blob",
    "Case",
    "CaseCounter",
    "CaseGrant",
    "Checkpoint",
    "Claim",
    "CustodyEvent",
    "CustodyOpening",
    "CustodyPending",
    "CustodyPosition",
    "CustodySubject",
    "Decision",
    "Finding",
    "Item",
    "ItemTag",
    "Job",
    "Note",
    "Postponement",
    "Rendition",
    "SignInLink",
    "Source",
    "Tag",
    "Upload",
    "UploadPart",
    "User",
    "WorkerBeat",
]
