"""The model registry: what may run here, where it comes from, and whether its bytes are the pinned ones.

models.toml is the whole list. `pull` is the only place in Amparo that may reach outside for a file; it asks
MODEL_MIRROR where one is set and nothing else. Bytes count only once their size and SHA-256 are the pinned ones:
`pull` checks them before a file gets its name, and `verified_copy` checks them again in the process that opens
them, on the very copy that is opened.
"""

import hashlib
import json
import os
import shutil
import tempfile
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote, urlsplit

from archive.errors import BadInput, ModelUnavailable, StorageFull

DATA_FILE = Path(__file__).with_name("models.toml")
IN_USE, CANDIDATE = "in use", "candidate"
STAGES = (IN_USE, CANDIDATE)
BLOCK = 1 << 20
TIMEOUT_S = 30


@dataclass(frozen=True)
class ModelFile:
    """One file of a model, with where it officially is and what its bytes must be.

    `system` is where a package of the distribution lays the same bytes: they are taken from there when they are there.
    """

    name: str
    url: str
    mirror: str
    size: int
    sha256: str
    system: str = ""


@dataclass(frozen=True)
class VectorOf:
    """Which hidden layer vectors are read from (empty: the last that pools), how many numbers it gives, and which.

    Of each channel the mean over the picture's area, or the greatest value.
    """

    width: int
    layer: str = ""
    greatest: bool = False


@dataclass(frozen=True)
class ModelEntry:
    """A model as registered. `thresholds` are proportions from 0 to 1, `input_size` pixels on the longer side.

    `pixel_range`: what a network of fractions expects for black and for white, as text.
    """

    name: str
    title: str
    task: str
    framework: str
    source: str
    licence: str
    classes: tuple[str, ...]
    input_size: int
    thresholds: dict[str, Decimal]
    stage: str
    files: tuple[ModelFile, ...]
    vector: VectorOf | None = None
    pixel_range: tuple[str, str] = ("0", "1")
    # What an analyser that runs several models asks for; empty: its name
    family: str = ""
    # What was measured of it and is shown beside all that it says, as text
    measured: tuple[tuple[str, str], ...] = ()
    # In which language (BCP 47) it writes, of one that writes sentences
    language: str = ""

    @property
    def sha256(self) -> str:
        """One hash for the whole model: SHA-256 over its files' 'sha256  name' lines, sorted by name."""
        if len(self.files) == 1:
            return self.files[0].sha256
        lines = "".join(f"{f.sha256}  {f.name}\n" for f in sorted(self.files, key=lambda f: f.name))
        return hashlib.sha256(lines.encode()).hexdigest()

    @property
    def size(self) -> int:
        return sum(f.size for f in self.files)

    def only(self, names: Iterable[str]) -> "ModelEntry":
        """The same model with these of its files, in this order. Raises KeyError for one that it has not."""
        files = {file.name: file for file in self.files}
        return replace(self, files=tuple(files[name] for name in names))


@dataclass(frozen=True)
class Report:
    """What became of one model in `pull` or `verify`. `fault` is empty when its files are the pinned ones."""

    model: ModelEntry
    state: str
    fault: str = ""


def models() -> dict[str, ModelEntry]:
    """Every registered model by name: those of models.toml in its order, then those of plug-ins that are on."""
    from triage import plugins

    return own() | {name: entry for name, entry in plugins.models().items() if name not in own()}


@cache
def own() -> dict[str, ModelEntry]:
    """The models of models.toml by name, in its order."""
    return entries(tomllib.loads(DATA_FILE.read_text(encoding="utf-8")), DATA_FILE)


def entries(data: dict[str, Any], file: Path) -> dict[str, ModelEntry]:
    """The models that a parsed file lists. Raises ValueError, KeyError, TypeError when it is not as it must be."""
    classes = {name: classes_of(given, file) for name, given in data.get("classes", {}).items()}
    found: dict[str, ModelEntry] = {}
    for row in data.get("model", []):
        entry = ModelEntry(
            classes=classes[row["classes"]],
            thresholds={k: Decimal(v) for k, v in row["thresholds"].items()},
            files=tuple(ModelFile(**f) for f in row["file"]),
            **{k: row[k] for k in ("name", "title", "task", "framework", "source", "licence")},
            input_size=row["input_size"],
            stage=row["stage"],
            vector=VectorOf(**row["vector"]) if "vector" in row else None,
            pixel_range=tuple(row.get("pixel_range", ("0", "1"))),
        )
        if entry.stage not in STAGES or entry.name in found:
            raise ValueError(f"{file.name}: {entry.name} has an unknown stage or stands there twice")
        found[entry.name] = entry
    return found


def classes_of(given: list[str] | str, file: Path) -> tuple[str, ...]:
    """Classes as listed, or the lines of a text beside the file that lists them."""
    if isinstance(given, str):
        return tuple(file.with_name(given).read_text(encoding="utf-8").splitlines())
    return tuple(given)


def get(name: str, root: Path | None = None) -> ModelEntry:
    """The registered model of that name; with a `root`, of those trained here and installed there too. Raises BadInput."""
    try:
        return {**models(), **(trained(root) if root else {})}[name]
    except KeyError:
        known = ", ".join(models())
        raise BadInput(f"No model is registered under the name {name!r}. Registered are: {known}.") from None


# --- trained here -----------------------------------------------------------------------------------------

# The name under which a clip classifier is registered: a newer one takes the place of the one before.
TRAINED_CLIPS = "clip-activity"
# What indicators that are trained here ask to be run by, and how their names begin
TRAINED_INDICATOR = "trained-indicator"
INDICATOR = "indicator-"
# The same of captioners that an administrator mirrors and registers
CAPTIONER = "captioner"
CAPTION = "caption-"
CARD = "card.json"


def trained_entry(*, classes: Iterable[str], size: int, sha256: str, title: str) -> ModelEntry:
    """A clip classifier that was trained here, as a registered model. Its classes and file are its own."""
    return ModelEntry(
        name=TRAINED_CLIPS,
        title=title,
        task="clip",
        framework="amparo-clips",
        source="trained here",
        licence="that of the clips it was trained on",
        classes=tuple(classes),
        input_size=224,
        thresholds={},
        stage=IN_USE,
        files=(ModelFile("clips.safetensors", "", "", size, sha256),),
    )


def indicator_entry(
    *,
    name: str,
    label: str,
    size: int,
    sha256: str,
    title: str,
    stage: str,
    threshold: str,
    measured: dict[str, str],
) -> ModelEntry:
    """An indicator that was trained here, as a registered model."""
    if stage not in STAGES:
        raise ValueError(f"{name} has an unknown stage")
    return ModelEntry(
        name=name,
        title=title,
        task="indicator",
        framework="amparo-indicator",
        source="trained here",
        licence="that of the pictures it was trained on",
        classes=(label,),
        input_size=0,
        thresholds={"score": Decimal(threshold)},
        stage=stage,
        files=(ModelFile("indicator.safetensors", "", "", size, sha256),),
        family=TRAINED_INDICATOR,
        measured=tuple(sorted(measured.items())),
    )


def captioner_entry(
    *,
    name: str,
    title: str,
    language: str,
    source: str,
    licence: str,
    input_size: int,
    stage: str,
    files: list[dict[str, Any]],
) -> ModelEntry:
    """A captioner that an administrator registered here, as a registered model."""
    if stage not in STAGES:
        raise ValueError(f"{name} has an unknown stage")
    return ModelEntry(
        name=name,
        title=title,
        task="caption",
        framework="onnx-captioner",
        source=source,
        licence=licence,
        classes=(),
        input_size=input_size,
        thresholds={},
        stage=stage,
        files=tuple(ModelFile(url="", mirror="", **file) for file in files),
        family=CAPTIONER,
        language=language,
    )


def as_card(entry: ModelEntry) -> dict[str, Any]:
    """What is kept beside files that were trained or registered here."""
    if entry.family == CAPTIONER:
        said = ("title", "language", "source", "licence", "input_size", "stage")
        files = [{"name": f.name, "size": f.size, "sha256": f.sha256} for f in entry.files]
        return {**{name: getattr(entry, name) for name in said}, "files": files}
    file = entry.files[0]
    card = {"size": file.size, "sha256": file.sha256, "title": entry.title}
    if entry.family != TRAINED_INDICATOR:
        return {**card, "classes": entry.classes}
    threshold = str(entry.thresholds["score"])
    own = {
        "label": entry.classes[0],
        "stage": entry.stage,
        "threshold": threshold,
        "measured": dict(entry.measured),
    }
    return {**card, **own}


def trained(root: Path | None = None) -> dict[str, ModelEntry]:
    """The models that were trained here, or registered from files that were mirrored, by name."""
    home, found = root or folder(), {}
    ours = (home.glob(f"{prefix}*/{CARD}") for prefix in (CAPTION, INDICATOR))
    for path in sorted([home / TRAINED_CLIPS / CARD, *chain.from_iterable(ours)]):
        try:
            card = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        name = path.parent.name
        if name == TRAINED_CLIPS:
            found[name] = trained_entry(**card)
        else:
            made = captioner_entry if name.startswith(CAPTION) else indicator_entry
            found[name] = made(name=name, **card)
    return found


def every(root: Path | None = None) -> dict[str, ModelEntry]:
    """Every model by name: those that come with Amparo, then those trained or registered here."""
    return {**models(), **trained(root)}


# The reader of text has a file for each language that it knows; of these, settings choose.
READER = "tesseract-fast"


def as_chosen(entry: ModelEntry) -> ModelEntry | None:
    """A model as settings want it to run: the reader with the chosen languages alone; None where none is chosen."""
    from django.conf import settings

    if entry.name != READER:
        return entry
    wanted = [language_file(language) for language in settings.TEXT_LANGUAGES]
    return entry.only(wanted) if wanted else None


def wanted() -> list[ModelEntry]:
    """The models that are in use, installed or not, each as settings want it."""
    chosen = (as_chosen(entry) for entry in models().values() if entry.stage == IN_USE)
    return [entry for entry in chosen if entry]


def languages() -> list[str]:
    """The languages that the reader of text knows, by the names of ISO 639-3."""
    return [file.name.removesuffix(_LANGUAGE_END) for file in own()[READER].files]


def language_file(language: str) -> str:
    """The reader's file for a language."""
    return language + _LANGUAGE_END


_LANGUAGE_END = ".traineddata"


# --- installed --------------------------------------------------------------------------------------------


def folder() -> Path:
    """Where weights are installed."""
    from django.conf import settings

    return Path(settings.MODELS_DIR)


def is_installed(entry: ModelEntry, root: Path | None = None) -> bool:
    """Are all its files here with the pinned sizes? Cheap: bytes are hashed when they are opened."""
    base = (root or folder()) / entry.name
    try:
        return all((base / f.name).stat().st_size == f.size for f in entry.files)
    except OSError:
        return False


# Of these tasks one model runs; of any other every installed one (triage.analysers.base.ONE_RUNS).
ONE_RUNS = ("detect", "face")


def in_use(root: Path | None = None) -> list[ModelEntry]:
    """The models that the pipeline runs now: every installed one that is in use, of ONE_RUNS the first of each task."""
    chosen: list[ModelEntry] = []
    for entry in filter(None, map(as_chosen, every(root).values())):
        first = entry.task not in ONE_RUNS or all(other.task != entry.task for other in chosen)
        if entry.stage == IN_USE and first and is_installed(entry, root):
            chosen.append(entry)
    return chosen


def notice() -> str:
    """Plain sentences for screens and exports where weights are missing; empty when all in use are installed."""
    have = in_use()
    tasks = {entry.task for entry in have}
    if not have:
        return "No model weights installed: only OpenCV's built-in people and face detectors ran."
    said = []
    if "detect" not in tasks:
        said.append(
            "No object detector's weights installed: of objects, only people were looked for, by OpenCV's HOG."
        )
    if "face" not in tasks:
        said.append("No face detector's weights installed: faces were counted by OpenCV's built-in cascade.")
    expected = [*wanted(), *(entry for entry in trained().values() if entry.stage == IN_USE)]
    if missing := [entry.title for entry in expected if entry.task not in ONE_RUNS and entry not in have]:
        said.append(f"Not installed, so not run: {'; '.join(missing)}.")
    return " ".join(said)


# --- installing -------------------------------------------------------------------------------------------


def pull(
    names: Iterable[str] = (),
    *,
    root: Path | None = None,
    mirror: str | None = None,
    progress: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> Iterator[Report]:
    """Install the named models, or all that are wanted; yields a Report for each.

    One that is here already is hashed and left. A file whose bytes are not the pinned ones is thrown away before
    anything opens it. `progress(file, bytes done, bytes in all)` is called along the way. A model that cannot be
    had is reported, and the next one is still tried. Raises BadInput for an unknown name, before anything is
    fetched.
    """
    asked = [get(name) for name in names]
    root = root or folder()
    if mirror is None:
        from django.conf import settings

        mirror = str(settings.MODEL_MIRROR or "")
    for entry in [as_chosen(entry) or entry for entry in asked] or wanted():
        try:
            if not faults(entry, root):
                yield Report(entry, "here already")
                continue
            for file in entry.files:
                _install(entry, file, root, mirror, progress)
            yield Report(entry, "installed")
        except (ModelUnavailable, StorageFull) as error:
            yield Report(entry, "refused", error.sentence)


def pinned(path: Path) -> dict[str, Any]:
    """Name, size and SHA-256 of a file as it is now. Raises BadInput when it cannot be read."""
    try:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            return {"name": path.name, "size": stream.tell(), "sha256": digest}
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}).") from error


def install_from(folder: Path, entry: ModelEntry, root: Path) -> None:
    """Install a model's files out of a folder, each only if it is the pinned one. Raises ModelUnavailable, StorageFull."""
    for file in entry.files:
        _install(entry, replace(file, mirror=file.name), root, str(folder), lambda name, done, total: None)


def verify(names: Iterable[str] = (), *, root: Path | None = None) -> Iterator[Report]:
    """Hash every installed file of the named models, or of all; yields a Report for each."""
    root = root or folder()
    for entry in [get(name, root) for name in names] or list(every(root).values()):
        entry = as_chosen(entry) or entry
        found = faults(entry, root)
        if not found:
            yield Report(entry, "verified")
        elif not (root / entry.name).exists():
            yield Report(entry, "not installed")
        else:
            yield Report(entry, "wrong", " ".join(found))


def faults(entry: ModelEntry, root: Path) -> list[str]:
    """What is wrong with the installed files, one sentence each; empty when all are the pinned ones."""
    found = []
    for file in entry.files:
        try:
            with (root / entry.name / file.name).open("rb") as stream:
                size, digest = _digest(stream, file.size)
        except OSError as error:
            found.append(f"{file.name} cannot be read ({error.strerror}).")
            continue
        if (size, digest) != (file.size, file.sha256):
            found.append(f"{file.name} does not have the pinned size and SHA-256 ({file.sha256}).")
    return found


def verified_copy(entry: ModelEntry, source: Path, target: Path) -> None:
    """Copy a model's files into the new folder `target`, hashing what is written there.

    The caller opens that copy and nothing else, so nobody can change a file between check and use. Raises
    ModelUnavailable, and then no copy is left.
    """
    target.mkdir(mode=0o700)
    try:
        for file in entry.files:
            (target / file.name).parent.mkdir(parents=True, exist_ok=True)  # a SavedModel has folders in it
            with (source / file.name).open("rb") as stream, (target / file.name).open("xb") as out:
                size, digest = _digest(stream, file.size, out)
            if (size, digest) != (file.size, file.sha256):
                raise ModelUnavailable(
                    f"The file {file.name} of model {entry.name} is not the registered one, so it was not opened. "
                    f"Run: manage.py models pull {entry.name}"
                )
    except OSError as error:
        shutil.rmtree(target, ignore_errors=True)
        raise ModelUnavailable(
            f"The files of model {entry.name} cannot be read ({error.strerror}). "
            f"Run: manage.py models pull {entry.name}"
        ) from error
    except ModelUnavailable:
        shutil.rmtree(target, ignore_errors=True)
        raise


def _is_pinned(file: ModelFile, path: Path) -> bool:
    """Whether there is a file at `path` with the registered bytes."""
    try:
        with path.open("rb") as stream:
            return _digest(stream, file.size) == (file.size, file.sha256)
    except OSError:
        return False


def _digest(stream: BinaryIO, size: int, out: BinaryIO | None = None) -> tuple[int, str]:
    """Size and SHA-256 of a stream, reading at most one byte over `size`; copied to `out` as it is read."""
    digest, done = hashlib.sha256(), 0
    while block := stream.read(min(BLOCK, size + 1 - done)):
        digest.update(block)
        done += len(block)
        if out:
            out.write(block)
        if done > size:
            break
    return done, digest.hexdigest()


def _install(
    entry: ModelEntry, file: ModelFile, root: Path, mirror: str, progress: Callable[[str, int, int], None]
) -> None:
    """Fetch one file to a temporary name, check it, then give it its name. Raises ModelUnavailable, StorageFull."""
    home = root / entry.name
    temporary = ""
    try:
        home.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=root, prefix=".incoming-")
        with os.fdopen(descriptor, "wb") as out, _source(file, mirror) as stream:
            digest, done = hashlib.sha256(), 0
            while done <= file.size and (block := stream.read(min(BLOCK, file.size + 1 - done))):
                digest.update(block)
                out.write(block)
                done += len(block)
                progress(file.name, done, file.size)
            out.flush()
            os.fsync(out.fileno())
        if done != file.size or digest.hexdigest() != file.sha256:
            what = "is longer" if done > file.size else f"has SHA-256 {digest.hexdigest()} and {done} bytes"
            raise ModelUnavailable(
                f"Refused: {file.name} of {entry.name} {what}; registered are {file.sha256} and {file.size} bytes. "
                f"It was thrown away unopened. Take it from {file.url}"
                + (f", or mend the mirror ({file.mirror})." if mirror else ", or set MODEL_MIRROR.")
            )
        os.chmod(temporary, 0o444)
        place = home / file.name
        place.parent.mkdir(parents=True, exist_ok=True)
        os.rename(temporary, place)
        temporary = ""
        for path in dict.fromkeys((place.parent, home, root)):
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
    except OSError as error:  # urllib's URLError is one too
        if error.errno == 28:
            raise StorageFull(
                f"No room for {file.name} ({file.size} bytes) in {root}. Make room, then pull again."
            ) from error
        raise ModelUnavailable(_could_not_fetch(entry, file, mirror, error)) from error
    finally:
        if temporary:
            Path(temporary).unlink(missing_ok=True)


def _could_not_fetch(entry: ModelEntry, file: ModelFile, mirror: str, error: OSError) -> str:
    reason = getattr(error, "reason", None) or error.strerror or error
    if mirror:
        return (
            f"{file.name} of {entry.name} could not be had from MODEL_MIRROR, at {file.mirror} ({reason}). Put it "
            f"there, or unset MODEL_MIRROR to take it from {file.url}. Until then triage runs without this model."
        )
    return (
        f"{file.name} of {entry.name} could not be had from {file.url} ({reason}). On a machine without internet, "
        f"put it into a folder as {file.mirror} and set MODEL_MIRROR to that folder. Until then triage runs "
        "without this model."
    )


@contextmanager
def _source(file: ModelFile, mirror: str) -> Iterator[BinaryIO]:
    """The stream to take a file from: a package's copy of it here, else MODEL_MIRROR (URL or folder), else its URL."""
    if file.system and _is_pinned(file, Path(file.system)):
        with open(file.system, "rb") as stream:
            yield stream
        return
    scheme = urlsplit(mirror).scheme
    if mirror and scheme not in ("http", "https"):
        with (Path(mirror) / file.mirror).open("rb") as stream:
            yield stream
        return
    url = f"{mirror.rstrip('/')}/{quote(file.mirror)}" if mirror else file.url
    if urlsplit(url).scheme not in ("https", "http"):
        raise ModelUnavailable(f"{file.name} has no http or https address in models.toml.")
    request = urllib.request.Request(url, headers={"User-Agent": "amparo-models"})
    with urllib.request.urlopen(
        request, timeout=TIMEOUT_S
    ) as stream:  # pinned by hash, so any answer is safe
        yield stream
