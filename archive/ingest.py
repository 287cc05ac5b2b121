"""From bytes to item: the one flow, top to bottom.

acquire     hash and store while streaming in; then row, events and follow-up jobs in one transaction
read_back   soon after: read what is really on disk, decrypt, hash, compare
examine     in the sandbox: type, condition, claims, renditions; then, where they are wanted, a proxy and a storyboard
"""

import contextlib
import dataclasses
import os
import shutil
import stat
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from archive import access, custody, fixity, jobs, search, vault
from archive.custody import Actor
from archive.custody.batch import Batch
from archive.errors import AmparoError, BadInput, Conflict, Damaged, Disposed, Missing
from archive.jobs import job
from archive.models import Acquisition, Blob, Case, CaseCounter, Claim, Item, Job, Rendition, Source
from archive.vault import Progress, Stored, silent

if TYPE_CHECKING:
    from archive.media.probe import Probe
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

    def settle_it(acquired: list[Acquired]) -> None:
        if settle:
            settle(acquired[0])

    return register_all(case=case, actor=actor, arrived=[(stored, origin)], settle=settle_it)[0]


def register_all(
    *,
    case: Case,
    actor: Actor,
    arrived: list[tuple[Stored, Origin]],
    settle: Callable[[list[Acquired]], None] | None = None,
) -> list[Acquired]:
    """As `register`, for several files in one transaction: all of them, or none."""
    for attempt in range(TRIES):
        try:
            with transaction.atomic(durable=True):
                acquired = _register(case, actor, arrived)
                if settle:
                    settle(acquired)
                return acquired
        except IntegrityError:  # another process took the same bytes or the same number first
            if attempt == TRIES - 1:
                raise
    raise AssertionError("unreachable")


def _register(case: Case, actor: Actor, arrived: list[tuple[Stored, Origin]]) -> list[Acquired]:
    now, batch = timezone.now(), Batch(actor)
    sizes = {stored.sha256: stored.size for stored, _ in arrived}
    Blob.objects.bulk_create(  # in one order for everybody, so that two who wait for each other do not wait for ever
        [Blob(sha256=sha256, size=sizes[sha256], stored_at=now) for sha256 in sorted(sizes)],
        ignore_conflicts=True,
    )
    healed = [stored.sha256 for stored, _ in arrived if not stored.existed]
    Blob.objects.filter(pk__in=healed, fixity=fixity.BAD).update(checked_at=None)  # checked before all others
    _hold_bytes(sizes, now)
    items = {item.sha256: item for item in Item.objects.filter(case=case, blob_id__in=sizes)}
    number = _take_numbers(case, len(sizes) - len(items))
    acquired = []
    for stored, origin in arrived:
        item = items.get(stored.sha256)
        already_held = item is not None and item.disposed_at is None
        if item is not None and item.disposed_at is not None:
            again = {"the_bytes_had_been_disposed_of": item.disposed_at}
            _hold_again(item, actor)
        else:
            again = {}
        if item is None:
            item = items[stored.sha256] = Item(
                case=case,
                number=number,
                blob_id=stored.sha256,
                size=stored.size,
                source=origin.source,
                received_at=now,
                file_name=origin.file_name,
            )
            number += 1
            batch.record(
                item,
                event="item.hashed",
                payload={"sha256": stored.sha256, "size": stored.size, "how": "while it streamed in"},
            )
            batch.write(item, event="item.stored")
        batch.write(
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
            also={"same_bytes_already_held": already_held, **again},
        )
        acquired.append(Acquired(item, already_held))
    batch.append()
    search.refresh(one.item.pk for one in acquired)
    return acquired


def _hold_bytes(stored: Collection[str], now: datetime) -> None:
    """Lock the rows against a disposal that destroys the same bytes; see that they are in the vault where one did.

    Raises Conflict where they were destroyed after they had been stored.
    """
    rows = Blob.objects.select_for_update().filter(pk__in=list(stored)).order_by("pk")
    destroyed = [blob.pk for blob in rows if blob.destroyed_at is not None]
    for sha256 in destroyed:
        try:
            vault.open(sha256).close()
        except Missing as error:
            raise Conflict(
                "A disposal destroyed the same bytes while they came in. Nothing of them was kept: send them again."
            ) from error
    fresh = {"fixity": "", "checked_at": None, "copied_at": None, "copy_fixity": "", "copy_checked_at": None}
    Blob.objects.filter(pk__in=destroyed).update(destroyed_at=None, stored_at=now, **fresh)


def _hold_again(item: Item, actor: Actor) -> None:
    """Bytes that had been disposed of are here again: they are read back and looked at as if they were new."""
    custody.change(
        item,
        event="item.held_again",
        actor=actor,
        expect={"disposed_at": item.disposed_at},
        also={
            "disposed_of": {"at": item.disposed_at, "disposal": str(item.disposal_id)},
            "sha256": item.sha256,
        },
        disposed_at=None,
        disposal=None,
        read_back_at=None,
        examined_at=None,
    )
    for name in ("archive.read_back", "archive.examine"):
        jobs.enqueue(name, subject=item, once=True)


def _take_numbers(case: Case, count: int) -> int:
    """Reserve item numbers; return the first."""
    if not count:
        return 0
    counter = CaseCounter.objects.select_for_update().get(case=case)
    CaseCounter.objects.filter(case=case).update(next_item=counter.next_item + count)
    return counter.next_item


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


COMMAND = Acquisition.Method("command")


@dataclass(frozen=True)
class Taken:
    """What became of one file: what it came to, or why it was not taken."""

    found: Found
    acquired: Acquired | None = None
    error: AmparoError | None = None


def acquire_file(
    *, case: Case, actor: Actor, found: Found, tool: str, source: Source | None = None
) -> Acquired:
    """Take one file from this machine's disk. Raises as `acquire`, and BadInput when it changes while it is read."""
    (taken,) = acquire_files(case=case, actor=actor, files=[found], tool=tool, source=source)
    if taken.acquired is None:
        raise taken.error or AssertionError("unreachable")
    return taken.acquired


def acquire_files(
    *, case: Case, actor: Actor, files: Iterable[Found], tool: str, source: Source | None = None
) -> Iterator[Taken]:
    """Take many files from this machine's disk, and tell of each, in their order, once it is committed.

    Several are stored at a time; those whose bytes are durable get their rows in one transaction. A file that cannot
    be taken is told with its reason. Raises NotAllowed and BadInput (closed case) as `acquire`.
    """
    require_open(case, actor, _origin_of(None, tool, source))
    vault.default_vault()  # opened once, by this thread
    given_up = threading.Event()
    waiting: deque[tuple[Found, Future[Stored]]] = deque()
    remaining = iter(files)
    with ThreadPoolExecutor(STORERS, "store") as storers:
        try:
            while True:
                for found in islice(remaining, AHEAD - len(waiting)):
                    waiting.append((found, storers.submit(_store_file, found, given_up)))
                if not waiting:
                    return
                waiting[0][1].exception()  # wait for the first; take along what else is done
                done: list[tuple[Found, Future[Stored]]] = []
                while waiting and waiting[0][1].done() and len(done) < TOGETHER:
                    done.append(waiting.popleft())
                yield from _register_done(case, actor, done, tool, source)
        finally:
            given_up.set()
            for _, stored in waiting:
                stored.cancel()


STORERS = 4  # files stored at a time: while one waits for the disk, another is hashed and sealed
AHEAD = 48  # files stored or being stored before they have rows
TOGETHER = 32  # files in one transaction


def _register_done(
    case: Case, actor: Actor, done: list[tuple[Found, "Future[Stored]"]], tool: str, source: Source | None
) -> Iterator[Taken]:
    arrived = [
        (future.result(), _origin_of(found, tool, source)) for found, future in done if not future.exception()
    ]
    if arrived:
        case.refresh_from_db(fields=["status"])
        require_open(case, actor, arrived[0][1])
    acquired = iter(register_all(case=case, actor=actor, arrived=arrived) if arrived else [])
    for found, future in done:
        error = future.exception()
        if error is None:
            yield Taken(found, acquired=next(acquired))
        elif isinstance(error, AmparoError):
            yield Taken(found, error=error)
        else:
            raise error


def _origin_of(found: Found | None, tool: str, source: Source | None) -> Origin:
    name, path = (_text(found.path.name), _text(found.relative)) if found else ("", "")
    longest = Acquisition._meta.get_field("path").max_length or 0
    return Origin(COMMAND, tool, name, path=path[-longest:], source=source)


def _store_file(found: Found, given_up: threading.Event) -> Stored:
    """Put one file into the vault. Runs in a thread of its own and touches no database."""

    def progress(step: str, done: int, total: int | None) -> None:
        if given_up.is_set():
            raise BadInput("It was being read when the command was stopped. Nothing of it was kept.")

    try:
        # Never follow a link or wait at a pipe that has taken the file's place since it was found.
        descriptor = os.open(found.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb", buffering=0) as stream:
            before = os.fstat(stream.fileno())
            if not stat.S_ISREG(before.st_mode):
                raise BadInput("It is no longer a file. Nothing of it was taken.")
            stored = vault.put(
                stream, expected_size=before.st_size, limit=settings.UPLOAD_LIMIT, progress=progress
            )
            after = os.fstat(stream.fileno())
    except OSError as error:
        raise BadInput(f"It cannot be taken: {error.strerror}. Nothing of it was kept.") from error
    if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
        raise BadInput(
            "It changed while it was read. Wait until nothing writes to it, then run the command again."
        )
    return stored


def _text(name: str) -> str:
    """A file name as text; bytes that are no UTF-8 are shown as \\xNN so that none is lost."""
    return os.fsencode(name).decode("utf-8", "backslashreplace").replace("\x00", "")


# --- afterwards, in a worker ----------------------------------------------------------------------------------------


@job("archive.read_back", queue="default", attempts=3, limit_s=4 * 3600, after="item.stored")
def read_back(row: Job, item: Item) -> None:
    """Read the stored bytes back from disk, decrypt and hash them; until then an item is 'not yet read back'."""
    if item.read_back_at is not None or item.disposed_at is not None:
        return
    actor = Actor.system("worker")
    answer = fixity.look(vault.default_vault(), item.sha256)
    if answer.fixity != fixity.GOOD:
        fixity.keep(item.sha256, answer, None, actor=actor)
        raise Damaged(answer.fault) if answer.fixity == fixity.BAD else vault.Unreachable(answer.fault)
    with transaction.atomic(durable=True):
        Blob.objects.filter(pk=item.sha256).update(fixity=fixity.GOOD, checked_at=timezone.now())
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

    if item.examined_at is not None or item.disposed_at is not None:
        return
    with plaintext(item) as source:
        found = renditions.examine(source, file_name=item.file_name)
    made = [(picture, store(picture)) for picture in found.renditions]
    actor, now, about = Actor.system("worker"), timezone.now(), found.probe
    with transaction.atomic(durable=True):
        for picture, stored in made:
            keep_rendition(item, picture, stored, actor)
        _keep_claims(item, about, actor)
        custody.change(
            item,
            event="item.examined",
            actor=actor,
            expect={"examined_at": None, "disposed_at": None},
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
        search.refresh([item.pk])
        if renditions.needs_proxy(about):
            jobs.enqueue("archive.proxy", subject=item, once=True)
        if wants_storyboard(item):
            jobs.enqueue("archive.storyboard", subject=item, once=True)


def read_less(case: Case | None = None) -> QuerySet[Item]:
    """Items in whose files an earlier release read less than this one does."""
    from archive.media import probe

    items = Item.objects.filter(examined_at__isnull=False, disposed_at=None)
    items = items if case is None else items.filter(case=case)
    return items.exclude(technical__reading__gte=probe.READING)


@job("archive.examine_again", queue="media", attempts=2, limit_s=1800)
def examine_again(row: Job, item: Item) -> None:
    """Read in the file what this release reads: claims and metadata. Type, condition and small pictures stay as they are."""
    from archive.media import probe

    if not read_less().filter(pk=item.pk).exists():
        return
    with plaintext(item) as source:
        about = probe.probe(source, file_name=item.file_name)
    actor = Actor.system("worker")
    with transaction.atomic(durable=True):
        _keep_claims(item, about, actor)
        custody.change(
            item,
            event="item.examined",
            actor=actor,
            reason="read again by a later release",
            expect={"examined_at": item.examined_at, "disposed_at": None},
            technical=about.technical,
            examined_at=timezone.now(),
        )
        search.refresh([item.pk])


def _keep_claims(item: Item, about: "Probe", actor: Actor) -> None:
    """What the file claims, but for what an earlier look recorded."""
    looked_before, now = item.claims.exists(), timezone.now()
    for claim in map(dataclasses.asdict, about.claims):
        if not (looked_before and item.claims.filter(**claim).exists()):
            custody.write(Claim(item=item, at=now, **claim), event="item.claim_recorded", actor=actor)


@job("archive.proxy", queue="media", attempts=2, limit_s=24 * 3600)
def make_proxy(row: Job, item: Item) -> None:
    """Make a copy that browsers play, of what they cannot play as it is."""
    from archive.media import probe, renditions

    if item.disposed_at is not None or item.renditions.filter(kind=Rendition.Kind.PROXY).exists():
        return
    with plaintext(item) as source, vault.scratch(need=item.size) as folder:
        copy = renditions.proxy(source, probe.probe(source, file_name=item.file_name), workdir=folder)
        stored = store(copy)
    with transaction.atomic(durable=True):
        keep_rendition(item, copy, stored, Actor.system("worker"))


def wants_storyboard(item: Item) -> bool:
    """Whether it is a film that decodes, as its poster shows, of known length, without a storyboard."""
    kinds = set(item.renditions.values_list("kind", flat=True))
    return bool(
        item.kind == Item.Kind.VIDEO
        and item.duration_ms
        and item.disposed_at is None
        and Rendition.Kind.POSTER in kinds
        and Rendition.Kind.STORYBOARD not in kinds
    )


@job("archive.storyboard", queue="media", attempts=2, limit_s=1800)
def make_storyboard(row: Job, item: Item) -> None:
    """Make one picture of frames spread over a film."""
    from archive.media import storyboard

    if not wants_storyboard(item):
        return
    with plaintext(item) as source:
        sheet = storyboard.make(source, item.duration_ms)
    stored = store(sheet)
    with transaction.atomic(durable=True):
        keep_rendition(item, sheet, stored, Actor.system("worker"))


@contextlib.contextmanager
def plaintext(item: Item) -> Iterator[int | Path]:
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
            with vault.scratch(need=item.size) as folder:
                copy = folder / "original"
                with copy.open("wb") as target:
                    shutil.copyfileobj(original, target, 1 << 20)
                yield copy


def store(rendered: "Rendered") -> Stored:
    """Put a finished rendition into the vault; `keep_rendition` then names it."""
    with rendered.open() as stream:
        return vault.put(stream)


def keep_rendition(item: Item, rendered: "Rendered", stored: Stored, actor: Actor) -> Rendition:
    """Make the row of a stored rendition, and its event, in the caller's transaction."""
    now = timezone.now()
    if Item.objects.select_for_update(of=("self",), no_key=True).get(pk=item.pk).disposed_at is not None:
        raise Disposed(f"Item {item.code} was disposed of meanwhile. What was made of it is not kept.")
    Blob.objects.bulk_create(
        [Blob(sha256=stored.sha256, size=stored.size, stored_at=now)], ignore_conflicts=True
    )
    _hold_bytes([stored.sha256], now)
    return custody.write(
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
