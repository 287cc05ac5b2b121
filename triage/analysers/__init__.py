"""Analysers by name. One file and one line here adds one; tests/contracts/test_analysers.py runs on each."""

from triage.analysers import (  # noqa: F401  each registers itself
    classify_imagenet,
    clip_activity,
    detect_opencv,
    detect_yolo,
    embed,
    faces_yunet,
    indicator_metadata,
    indicator_trained,
    text_tesseract,
)
from triage.analysers.base import (
    About,
    Analyser,
    Detection,
    FrameBatch,
    Frames,
    Result,
    Span,
    Tag,
    Task,
    Text,
    Vector,
    WordsRefused,
    plan,
    registered,
    runs_on,
)

__all__ = [
    "About",
    "Analyser",
    "Detection",
    "FrameBatch",
    "Frames",
    "Result",
    "Span",
    "Tag",
    "Task",
    "Text",
    "Vector",
    "WordsRefused",
    "plan",
    "registered",
    "runs_on",
]
