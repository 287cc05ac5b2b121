"""The domain's rows, by aggregate."""

from archive.models.cases import Case, CaseCounter, CaseGrant, Source
from archive.models.items import Acquisition, Blob, Claim, Finding, Item, Rendition
from archive.models.log import (
    Anchor,
    Checkpoint,
    Cosignature,
    CustodyErasure,
    CustodyEvent,
    CustodyOpening,
    CustodyPending,
    CustodyPosition,
    CustodySubject,
    CustodyTile,
    MapEntry,
    MapHead,
    MapPage,
    Timestamp,
)
from archive.models.people import SignInLink, User
from archive.models.retention import Disposal, DisposalItem, Hold
from archive.models.review import Assignment, Decision, ItemTag, Note, Postponement, Tag
from archive.models.search import Words
from archive.models.work import Alarm, Duty, Job, Upload, UploadPart, WorkerBeat

__all__ = [
    "Acquisition",
    "Alarm",
    "Anchor",
    "Assignment",
    "Blob",
    "Case",
    "CaseCounter",
    "CaseGrant",
    "Checkpoint",
    "Claim",
    "Cosignature",
    "CustodyErasure",
    "CustodyEvent",
    "CustodyOpening",
    "CustodyPending",
    "CustodyPosition",
    "CustodySubject",
    "CustodyTile",
    "Decision",
    "Disposal",
    "DisposalItem",
    "Duty",
    "Finding",
    "Hold",
    "Item",
    "ItemTag",
    "Job",
    "MapEntry",
    "MapHead",
    "MapPage",
    "Note",
    "Postponement",
    "Rendition",
    "SignInLink",
    "Source",
    "Tag",
    "Timestamp",
    "Upload",
    "UploadPart",
    "User",
    "Words",
    "WorkerBeat",
]
