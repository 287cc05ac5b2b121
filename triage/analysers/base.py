"""What an analyser is. It gets frames and says what it takes them for; it touches no database, file or network."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from triage.registry import ONE_RUNS, ModelEntry

if TYPE_CHECKING:
    import numpy

    from triage.runtimes.base import Runtime


class Task(StrEnum):
    """What an analyser does. Of DETECT and FACE one analyser runs; of the others every one that can."""

    DETECT = "detect"
    FACE = "face"
    CLASSIFY = "classify"
    EMBED = "embed"
    TEXT = "text"
    CLIP = "clip"
    ANOMALY = "anomaly"
    INDICATOR = "indicator"
    CAPTION = "caption"


@dataclass(frozen=True)
class Frames:
    """What an analyser wants to be given: 8-bit BGR, the longer side at most `side` pixels (0: as decoded).

    At most so many frames of one item as `most` says (0: all that are sampled), evenly spread.
    """

    side: int = 0
    most: int = 0


@dataclass(frozen=True)
class FrameBatch:
    """Frames of one item in order. `pixels` are height x width x 3 arrays that nobody may change."""

    pixels: Sequence["numpy.ndarray[Any, Any]"]
    at_ms: Sequence[int]
    _made: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    def once(self, index: int, name: str, make: Callable[[], Any]) -> Any:
        """What several analysers need of a frame (such as one network's output), made by the first that asks."""
        key = (name, id(self.pixels[index]))
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def part(
        self, picked: Sequence[int], name: str, change: Callable[["numpy.ndarray[Any, Any]"], Any]
    ) -> "FrameBatch":
        """Some of the frames, changed. What is made of a frame is shared by all parts in which it is the same."""
        pixels = [self.once(i, name, lambda i=i: change(self.pixels[i])) for i in picked]  # type: ignore[misc]
        return FrameBatch(pixels, [self.at_ms[i] for i in picked], self._made)


@dataclass(frozen=True)
class About:
    """What is known of an item before its first frame: "image" or "video".

    `facts`: what the archive read in the file (triage.about), for an analyser that says `reads_facts`; else empty.
    """

    kind: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Detection:
    """A suggestion. `score` is 0 to 1 and uncalibrated; `box` is x, y, width, height as shares of the frame."""

    label: str
    score: float
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class Tag:
    """A suggestion about a whole frame or a whole item. `score` is 0 to 1 and uncalibrated."""

    label: str
    score: float


@dataclass(frozen=True)
class Text:
    """Words that may stand in a frame, as an engine read them. `score` and `box` as those of a detection."""

    text: str
    score: float
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class Caption:
    """A sentence that describes a frame, in the language that the model writes. `score`: how sure it was of its words."""

    text: str
    score: float


@dataclass(frozen=True)
class Vector:
    """A direction that stands for a frame: little-endian 16-bit floats of length 1, as many as `width` says."""

    values: bytes

    @classmethod
    def of(cls, numbers: "numpy.ndarray[Any, Any]") -> "Vector":
        """These numbers brought to length 1. Raises ValueError where they have no direction."""
        import numpy

        wide = numpy.asarray(numbers, numpy.float64).ravel()
        length = float(numpy.linalg.norm(wide))
        if not 0 < length < float("inf"):
            raise ValueError("these numbers have no direction")
        return cls((wide / length).astype("<f2").tobytes())


@dataclass(frozen=True)
class Span:
    """A tag for a part of an item: from `at_ms` to `until_ms`."""

    at_ms: int
    until_ms: int
    tag: Tag


class WordsRefused(ValueError):
    """A text tower makes nothing of these words: there are none that it knows, or more than it takes."""


Result = Detection | Tag | Text | Caption | Vector


class Analyser:
    """One way of looking at items. Subclass it, set the class attributes, and put @register above.

    `weights` names a registered model, or a family of them (it runs once with each), or is empty for what works with none;
    `built_in` says by which library then,
    and `licence` under which licence that is. An analyser with weights goes before one without.

    For each item: `begin` once, `analyse` for each batch of its frames in order (not at all where `takes` is None),
    `end` once. An item that fails is not ended: the next `begin` forgets it.
    """

    name: str
    version: ClassVar[int]
    task: ClassVar[Task]
    takes: ClassVar[Frames | None] = Frames()
    weights: ClassVar[str] = ""
    # Other registered models that it looks through; without them it does not run
    needs: ClassVar[tuple[str, ...]] = ()
    built_in: ClassVar[str] = ""
    licence: str = ""
    # How many numbers its vectors have; 0 for what gives none
    width: ClassVar[int] = 0
    # Whether it is told what the archive read in the file: then that is a part of its recipe
    reads_facts: ClassVar[bool] = False
    # Of an embedder with a text tower: the languages (BCP 47) that it was made for. Empty: it has no such tower
    tower_languages: ClassVar[tuple[str, ...]] = ()
    # Where its code lies, for what does not come with Amparo: opened in the confined process only
    package: ClassVar[Path | None] = None
    # Without weights these are the class's own; with weights they are the registered model's.
    classes: tuple[str, ...] = ()
    thresholds: dict[str, str]

    def __init__(self, entry: ModelEntry | None = None) -> None:
        if bool(entry) != bool(self.weights):
            raise ValueError(f"{self.name}: weights are given exactly where they are asked for")
        self.entry = entry
        if entry:
            self.classes = () if self.task is Task.EMBED else entry.classes
            self.thresholds = {name: str(value) for name, value in entry.thresholds.items()}
            self.licence = entry.licence

    @property
    def parameters(self) -> dict[str, str]:
        """What else determines the result, as text: thresholds and frame size."""
        size = {"input_size": str(self.entry.input_size)} if self.entry else {}
        if self.takes is None:
            return {**self.thresholds, **size}
        most = {"frames_at_most": str(self.takes.most)} if self.takes.most else {}
        return {**self.thresholds, **size, **most, "frame_side": str(self.takes.side or "as decoded")}

    @property
    def model(self) -> ModelEntry:
        """The registered model that it runs on; only for those that have weights."""
        if self.entry is None:
            raise ValueError(f"{self.name} runs without weights")
        return self.entry

    def library(self, versions: Mapping[str, str]) -> str:
        """The library that does it, with its version out of those of the model process; always told for `built_in`."""
        return ""

    def open(self, runtime: "Runtime") -> None:
        """Get ready, once. Raises ModelUnavailable."""
        raise NotImplementedError

    def begin(self, item: About) -> None:
        """A new item comes. What was remembered of the one before is forgotten here."""

    def analyse(self, frames: FrameBatch) -> Sequence[Sequence[Result]]:
        """One list for each frame, in order; an empty list says that nothing was found, not that nothing is there."""
        raise NotImplementedError

    def words(self, text: str) -> Vector:
        """The direction of words among those of frames, where `tower_languages` says that there is a text tower.

        It may be called at any time once it is open. Raises WordsRefused; it never cuts words off.
        """
        raise NotImplementedError

    def end(self) -> Sequence[Tag | Span]:
        """What it says of the item as a whole, or of parts of it, once it was given every frame."""
        return []


_registered: dict[str, type[Analyser]] = {}


def register(cls: type[Analyser]) -> type[Analyser]:
    """Add an analyser under its name. Raises ValueError when the name is taken."""
    if cls.name in _registered:
        raise ValueError(f"two analysers are called {cls.name}")
    _registered[cls.name] = cls
    return cls


def registered() -> dict[str, type[Analyser]]:
    """Every registered analyser by name: Amparo's own, then those of plug-ins that are on."""
    from triage import plugins

    return _registered | {n: cls for n, cls in plugins.analysers().items() if n not in _registered}


def plan(installed: Iterable[ModelEntry]) -> list[Analyser]:
    """The analysers to run with these models: one for DETECT and one for FACE, every one that can for other tasks.

    One with weights goes before one without.
    """
    installed = list(installed)
    able = [
        cls(entry)
        for cls in registered().values()
        if set(cls.needs) <= {entry.name for entry in installed}
        for entry in runs_on(cls, installed)
    ]
    chosen: list[Analyser] = []
    for one in sorted(able, key=lambda one: ([*Task].index(one.task), not one.weights, one.name)):
        if one.task not in ONE_RUNS or all(other.task is not one.task for other in chosen):
            chosen.append(one)
    return chosen


def runs_on(cls: type[Analyser], installed: Iterable[ModelEntry]) -> list[ModelEntry | None]:
    """Each of these models that an analyser is to be opened with; [None] for one that works without."""
    return [e for e in installed if (e.family or e.name) == cls.weights] if cls.weights else [None]
