"""From bytes to item: the one flow, top to bottom.

acquire     hash and store while streaming in; then row, events and follow-up jobs in one transaction
read_back   soon after: read what is really on disk, decrypt, hash, compare
examine     in the sandbox: type, condition, claims, renditions
"""

import contextlib
import dataclasses
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from archive import access, custody, jobs, vault
from archive.custody import Actor
from archive.errors import BadInput, Damaged, Missing
from archive.jobs import job
from archive.models import Acquisition, Blob, Case, CaseCounter, Claim, Item, Job, Rendition, Source
from archive.vault import Progress, Stored, silent

if TYPE_CHECKING:
    from archive.media.renditions import Rendered

TRIES = 5


@dataclass(frozen=True)
class Origin:
    """How the bytes came: what the acquisition says."""

    method: Acquisition.Method
    tool: str
    file_name: str
    path: str = ""
    url: str = ""
    source: Source | None = None


@dataclass(frozen=True)
class Acquired:
    """The item that holds the bytes, and whether the case had them already."""

    item: Item
    already_held: bool


Settle = Callable[[Acquired], None] | None


def acquire(
    *,
    case: Case,
    actor: Actor,
    stream: BinaryIO,
    origin: Origin,
    expected_size: int | None = None,
    expected_sha256: str | None = None,
    progress: Progress = silent,
    settle: Settle = None,
) -> Acquired:
    """Take one file into a case. The same bytes again: the same item, a further acquisition.

    `settle` is told what came of it inside the transaction that makes the rows, so that both hold or neither.
    Raises NotAllowed, BadInput (closed case, bytes not as announced), LimitExceeded, StorageFull; then no row
    exists, and bytes already written lie in the vault as an orphan that `vault orphans` lists.
    """
    require_open(case, actor, origin)
    stored = vault.put(
        stream,
        expected_size=expected_size,
        expected_sha256=expected_sha256,
        limit=settings.UPLOAD_LIMIT,
        progress=progress,
    )
    return register(case=case, actor=actor, stored=stored, origin=origin, settle=settle)


def require_open(case: Case, actor: Actor, origin: Origin) -> None:
    """Raise unless this actor may add material of this origin to the case now."""
    access.require(actor, "add_items", case)
    if case.status == Case.Status.CLOSED:
        raise BadInput(f"Case {case.code} is closed: open it again before adding material.")
    if origin.source is not None and origin.source.case_id != case.pk:
        raise BadInput("That source belongs to another case: choose one of this case.")


def register(*, case: Case, actor: Actor, stored: Stored, origin: Origin, settle: Settle = None) -> Acquired:
    """Make the rows, events and jobs for bytes that are durably in the vault."""
    for attempt in range(TRIES):
        try:
            with transaction.atomic(durable=True):
                acquired = _register(case, actor, stored, origin)
                if settle:
                    settle(acquired)
                return acquired
        except IntegrityError:  # another process took the same bytes or the same number first
            if attempt == TRIES - 1:
                raise
    raise AssertionError("unreachable")


def _register(case: Case, actor: Actor, stored: Stored, origin: Origin) -> Acquired:
    now = timezone.now()
    Blob.objects.bulk_create(
        [Blob(sha256=stored.sha256, size=stored.size, stored_at=now)], ignore_conflicts=True
    )
    item = Item.objects.holding(case, stored.sha256)
    already_held = item is not None
    if item is None:
        item = Item(
            case=case,
            number=_next_number(case),
            blob_id=stored.sha256,
            size=stored.size,
            source=origin.source,
            received_at=now,
            file_name=origin.file_name,
        )
        custody.record(
            item,
            event="item.hashed",
            actor=actor,
            payload={"sha256": stored.sha256, "size": stored.size, "how": "while it streamed in"},
        )
        custody.write(item, event="item.stored", actor=actor)
    custody.write(
        Acquisition(
            item=item,
            at=now,
            by=actor.name,
            method=origin.method,
            tool=origin.tool,
            file_name=origin.file_name,
            path=origin.path,
            url=origin.url,
            source=origin.source,
        ),
        event="item.acquired",
        actor=actor,
        also={"same_bytes_already_held": already_held},
    )
    return Acquired(item, already_held)


def _next_number(case: Case) -> int:
    counter = CaseCounter.objects.select_for_update().get(case=case)
    number = counter.next_item
    CaseCounter.objects.filter(case=case).update(next_item=number + 1)
    return number


# --- files and folders --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Found:
    """A file to take, and its path below the folder that was named."""

    path: Path
    relative: str


@dataclass
class Unusable:
    """Something that was named or found and cannot be taken, and why."""

    path: Path
    reason: str


@dataclass
class Listing:
    """What a list of paths comes to."""

    files: list[Found] = field(default_factory=list)
    unusable: list[Unusable] = field(default_factory=list)


def find_files(paths: list[Path], *, recursive: bool) -> Listing:
    """List the regular files at and below these paths, in a stable order. Links and devices are named, not followed."""
    listing = Listing()
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            if recursive:
                _walk(path, listing)
            else:
                listing.unusable.append(Unusable(path, "is a folder: add --recursive to take what is in it"))
        else:
            _consider(path, path.name, listing)
    return listing


def _walk(folder: Path, listing: Listing) -> None:
    def unreadable(error: OSError) -> None:
        listing.unusable.append(Unusable(Path(error.filename), f"cannot be opened: {error.strerror}"))

    for here, folders, names in os.walk(folder, onerror=unreadable):
        folders.sort()
        for name in [f for f in folders if Path(here, f).is_symlink()]:
            listing.unusable.append(Unusable(Path(here, name), "is a link: give the path it leads to"))
        for name in sorted(names):
            path = Path(here, name)
            _consider(path, str(Path(folder.name) / path.relative_to(folder)), listing)


def _consider(path: Path, relative: str, listing: Listing) -> None:
    try:
        mode = path.lstat().st_mode
    except OSError as error:
        listing.unusable.append(Unusable(path, f"cannot be opened: {error.strerror}"))
        return
    if stat.S_ISLNK(mode):
        listing.unusable.append(Unusable(path, "is a link: give the path it leads to"))
    elif not stat.S_ISREG(mode):
        listing.unusable.append(Unusable(path, "is neither a file nor a folder"))
    else:
        listing.files.append(Found(path, relative))


def acquire_file(
    *, case: Case, actor: Actor, found: Found, tool: str, source: Source | None = None
) -> Acquired:
    """Take one file from this machine's disk. Raises as `acquire`, and BadInput when it changes while it is read."""
    origin = Origin(
        Acquisition.Method.COMMAND, tool, _text(found.path.name), path=_text(found.relative), source=source
    )
    require_open(case, actor, origin)
    try:
        with found.path.open("rb", buffering=0) as stream:
            before = os.fstat(stream.fileno())
            stored = vault.put(stream, expected_size=before.st_size, limit=settings.UPLOAD_LIMIT)
            after = os.fstat(stream.fileno())
    except OSError as error:
        raise BadInput(f"It cannot be read: {error.strerror}. Nothing of it was taken.") from error
    if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
        raise BadInput(
            "It changed while it was read. Wait until nothing writes to it, then run the command again."
        )
    return register(case=case, actor=actor, stored=stored, origin=origin)


def _text(name: str) -> str:
    """A file name as text; bytes that are no UTF-8 are shown as \\xNN so that none is lost."""
    return os.fsencode(name).decode("utf-8", "backslashreplace").replace("\x00", "")


# --- afterwards, in a worker ----------------------------------------------------------------------------------------


@job("archive.read_back", queue="default", attempts=3, limit_s=4 * 3600, after="item.stored")
def read_back(row: Job, item: Item) -> None:
    """Read the stored bytes back from disk, decrypt and hash them; until then an item is 'not yet read back'."""
    if item.read_back_at is not None:
        return
    actor = Actor.system("worker")
    try:
        vault.check(item.sha256)
    except (Damaged, Missing) as error:
        with transaction.atomic(durable=True):
            custody.record(
                item,
                event="item.fixity_checked",
                actor=actor,
                payload={"answer": "bad", "fault": error.sentence},
            )
        raise
    with transaction.atomic(durable=True):
        custody.change(
            item,
            event="item.read_back",
            actor=actor,
            expect={"read_back_at": None},
            also={"sha256": item.sha256},
            read_back_at=timezone.now(),
        )


@job("archive.examine", queue="media", attempts=2, limit_s=1800, after="item.stored")
def examine(row: Job, item: Item) -> None:
    """Find type and condition, read claims, make small pictures: all in the sandbox. The original is only read."""
    from archive.media import renditions

    if item.examined_at is not None:
        return
    with _plaintext(item) as source:
        found = renditions.examine(source, file_name=item.file_name)
    made = [(picture, _store(picture)) for picture in found.renditions]
    actor, now, about = Actor.system("worker"), timezone.now(), found.probe
    with transaction.atomic(durable=True):
        for picture, stored in made:
            _keep_rendition(item, picture, stored, actor)
        for claim in about.claims:
            custody.write(
                Claim(item=item, at=now, **dataclasses.asdict(claim)),
                event="item.claim_recorded",
                actor=actor,
            )
        custody.change(
            item,
            event="item.examined",
            actor=actor,
            expect={"examined_at": None},
            kind=str(about.kind),
            media_type=about.media_type,
            condition=str(about.condition),
            condition_detail=about.detail,
            width=about.width,
            height=about.height,
            duration_ms=about.duration_ms,
            technical=about.technical,
            examined_at=now,
        )
        if renditions.needs_proxy(about):
            jobs.enqueue("archive.proxy", subject=item, once=True)


@job("archive.proxy", queue="media", attempts=2, limit_s=24 * 3600)
def make_proxy(row: Job, item: Item) -> None:
    """Make a copy that browsers play, of what they cannot play as it is."""
    from archive.media import probe, renditions

    if item.renditions.filter(kind=Rendition.Kind.PROXY).exists():
        return
    with _plaintext(item) as source, vault.scratch() as folder:
        copy = renditions.proxy(source, probe.probe(source, file_name=item.file_name), workdir=folder)
        stored = _store(copy)
    with transaction.atomic(durable=True):
        _keep_rendition(item, copy, stored, Actor.system("worker"))


@contextlib.contextmanager
def _plaintext(item: Item) -> Iterator[int | Path]:
    """The original's bytes for the sandbox: in memory when small, else in the private scratch folder."""
    from archive.media import renditions

    with vault.open(item.sha256) as original:
        if item.size <= renditions.SMALL:
            descriptor = renditions.in_memory(original.read())
            try:
                yield descriptor
            finally:
                os.close(descriptor)
        else:
            with vault.scratch() as folder:
                copy = folder / "original"
                with copy.open("wb") as target:
                    shutil.copyfileobj(original, target, 1 << 20)
                yield copy


def _store(rendered: "Rendered") -> Stored:
    with rendered.open() as stream:
        return vault.put(stream)


def _keep_rendition(item: Item, rendered: "Rendered", stored: Stored, actor: Actor) -> None:
    now = timezone.now()
    Blob.objects.bulk_create(
        [Blob(sha256=stored.sha256, size=stored.size, stored_at=now)], ignore_conflicts=True
    )
    custody.write(
        Rendition(
            item=item,
            kind=rendered.kind,
            original_sha256=item.sha256,
            recipe=rendered.recipe,
            blob_id=stored.sha256,
            media_type=rendered.media_type,
            width=rendered.width,
            height=rendered.height,
            made_at=now,
        ),
        event="item.rendition_made",
        actor=actor,
    )
