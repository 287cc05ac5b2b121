"""What an analyser is. It gets frames and gives detections; it touches no database, file or network."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar

from triage.registry import ModelEntry

if TYPE_CHECKING:
    import numpy

    from triage.runtimes.base import Runtime


class Task(StrEnum):
    """What an analyser looks for. For each task the pipeline runs one analyser."""

    DETECT = "detect"
    FACE = "face"


@dataclass(frozen=True)
class Frames:
    """What an analyser wants to be given: 8-bit BGR, the longer side at most `side` pixels (0: as decoded)."""

    side: int = 0


@dataclass(frozen=True)
class FrameBatch:
    """Frames of one item in order. `pixels` are height x width x 3 arrays that nobody may change."""

    pixels: Sequence["numpy.ndarray[Any, Any]"]
    at_ms: Sequence[int]


@dataclass(frozen=True)
class Detection:
    """A suggestion. `score` is 0 to 1 and uncalibrated; `box` is x, y, width, height as shares of the frame."""

    label: str
    score: float
    box: tuple[float, float, float, float]


class Analyser:
    """One way of looking at frames. Subclass it, set the class attributes, and put @register above.

    `weights` names a registered model, or is empty for what works with none; `built_in` says by which library then.
    An analyser with weights goes before one without.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    task: ClassVar[Task]
    takes: ClassVar[Frames] = Frames()
    weights: ClassVar[str] = ""
    built_in: ClassVar[str] = ""
    # Without weights these are the class's own; with weights they are the registered model's.
    classes: tuple[str, ...] = ()
    thresholds: dict[str, str]

    def __init__(self, entry: ModelEntry | None = None) -> None:
        if bool(entry) != bool(self.weights):
            raise ValueError(f"{self.name}: weights are given exactly where they are asked for")
        self.entry = entry
        if entry:
            self.classes = entry.classes
            self.thresholds = {name: str(value) for name, value in entry.thresholds.items()}

    @property
    def parameters(self) -> dict[str, str]:
        """What else determines the result, as text: thresholds and frame size."""
        size = {"input_size": str(self.entry.input_size)} if self.entry else {}
        return {**self.thresholds, **size, "frame_side": str(self.takes.side or "as decoded")}

    @property
    def model(self) -> ModelEntry:
        """The registered model that it runs on; only for those that have weights."""
        if self.entry is None:
            raise ValueError(f"{self.name} runs without weights")
        return self.entry

    def open(self, runtime: "Runtime") -> None:
        """Get ready, once. Raises ModelUnavailable."""
        raise NotImplementedError

    def analyse(self, frames: FrameBatch) -> list[list[Detection]]:
        """One list for each frame, in order; an empty list says that nothing was found, not that nothing is there."""
        raise NotImplementedError


_registered: dict[str, type[Analyser]] = {}


def register(cls: type[Analyser]) -> type[Analyser]:
    """Add an analyser under its name. Raises ValueError when the name is taken."""
    if cls.name in _registered:
        raise ValueError(f"two analysers are called {cls.name}")
    _registered[cls.name] = cls
    return cls


def registered() -> dict[str, type[Analyser]]:
    """Every registered analyser by name."""
    return dict(_registered)


def plan(installed: Iterable[ModelEntry]) -> list[Analyser]:
    """The analysers to run with these models: one for each task, one with weights before one without."""
    entries = {entry.name: entry for entry in installed}
    chosen: dict[Task, Analyser] = {}
    for cls in sorted(_registered.values(), key=lambda cls: (not cls.weights, cls.name)):
        if cls.task not in chosen and (not cls.weights or cls.weights in entries):
            chosen[cls.task] = cls(entries.get(cls.weights))
    return [chosen[task] for task in Task if task in chosen]
