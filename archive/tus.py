"""Files that come in by the web in pieces (tus 1.0). What is confirmed is durable; what is finished is one acquisition.

begin     a row that says which file is to come
append    the bytes durable in the upload's own staging vault, then the offset.
          A whole small file goes straight into the case. The last piece of a larger one: all pieces as one stream
          into ingest.acquire; item and last offset stand in the transaction of the acquisition
discard   the row says so, then the pieces go

A process may be killed anywhere: the offset never says more than is durable, and a last piece sent again finds
its bytes there and only finishes. Two that finish at once end in one acquisition: the row is settled once.
"""

import contextlib
import fcntl
import io
import logging
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from archive import ingest, vault
from archive.custody import Actor
from archive.errors import BadInput, Conflict, Damaged, LimitExceeded, NotFound
from archive.ingest import Acquired, Origin
from archive.models import Acquisition, Case, Item, Source, Upload, UploadPart, User
from archive.vault import Folder, Progress, Rotated, Vault, VaultReader, silent

log = logging.getLogger("amparo.uploads")

VERSION = "1.0.0"
CHUNK = 16 * 1024**2  # what our page sends in one request
MOST_PER_REQUEST = 64 * 1024**2  # what a client may send in one request: proxies refuse more
DIRECT = 8 * 1024**2  # a file up to this size that comes in one request is held in memory, not staged
NAME = Upload._meta.get_field("file_name").max_length
LONG = Upload._meta.get_field("path").max_length
_HASH = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True)
class Announced:
    """What the sender says about a file before it comes. `length` is in bytes."""

    length: int
    file_name: str
    path: str = ""
    url: str = ""
    source: str = ""
    sha256: str = ""
    fingerprint: str = ""


def begin(*, case: Case, actor: Actor, announced: Announced) -> Upload:
    """Expect a file. An empty one is finished at once.

    Raises NotAllowed, BadInput (name, hash, source, closed case), LimitExceeded; then nothing was kept.
    """
    if announced.length < 0:
        raise BadInput("A file cannot have fewer than 0 bytes: send its size as Upload-Length.")
    if announced.length > settings.UPLOAD_LIMIT:
        raise LimitExceeded(
            f"The file has {announced.length:,} bytes; the limit is {settings.UPLOAD_LIMIT:,}. Nothing was sent. "
            "An administrator can take it in at the server, or raise AMPARO_UPLOAD_LIMIT."
        )
    for what, said, most in (
        ("name", announced.file_name, NAME),
        ("path", announced.path, LONG),
        ("address", announced.url, LONG),
    ):
        if len(said) > most:
            raise BadInput(
                f"Its {what} has {len(said):,} characters; at most {most:,} are kept. Shorten it and send it again."
            )
    if not announced.file_name.strip():
        raise BadInput("A file needs a name: send it as filename in Upload-Metadata.")
    for value in (announced.sha256, announced.fingerprint):
        if value and not _HASH.match(value):
            raise BadInput("A SHA-256 has 64 hexadecimal digits, in lower case.")
    source = None
    if announced.source:
        source = Source.objects.filter(case=case, code=announced.source).first()
        if source is None:
            raise BadInput("That source is not one of this case. Nothing was sent: choose another.")
    upload = Upload(
        case=case,
        by=actor.user,
        source=source,
        file_name=_clean(announced.file_name),
        path=_clean(announced.path),
        url=_clean(announced.url),
        length=announced.length,
        expected_sha256=announced.sha256,
        fingerprint=announced.fingerprint,
        created_at=timezone.now(),
    )
    ingest.require_open(case, actor, origin(upload))
    vault.require_room(upload.length)
    upload.save(force_insert=True)
    if upload.length == 0:
        _acquire(upload, actor, io.BytesIO())
    sweep()
    return upload


def append(*, upload: Upload, actor: Actor, start: int, size: int, stream: BinaryIO) -> Upload:
    """Take the next piece of `size` bytes from `stream`; one that breaks off is kept as far as it came.

    Returns the row as it stands. Raises Conflict when `start` is not the confirmed offset or another request is
    finishing the file, LimitExceeded for a piece over 64 MiB, BadInput when the whole is not what was announced
    (the pieces are then given up, to be sent again), NotAllowed, StorageFull.
    """
    if upload.item_id:
        return upload
    ingest.require_open(upload.case, actor, origin(upload))
    if upload.finished_at:
        raise NotFound("This upload was given up: send the file again.")
    if size > MOST_PER_REQUEST:
        raise LimitExceeded(f"One request may bring at most {MOST_PER_REQUEST:,} bytes: send smaller pieces.")
    if start != upload.offset:
        raise Conflict(f"Confirmed are {upload.offset} bytes; the piece begins at {start}. Go on from there.")
    if start + size > upload.length:
        raise BadInput("The piece goes beyond the announced size. Nothing of it was kept.")
    body: BinaryIO = Body(stream, size)
    if start == 0 and size == upload.length <= DIRECT:
        held = body.read()
        if len(held) == upload.length:
            _acquire(upload, actor, io.BytesIO(held))
            return upload
        body = io.BytesIO(held)
    if _keep(upload, start, body):
        _finish(upload, actor)
    upload.refresh_from_db()
    return upload


def discard(*, upload: Upload) -> None:
    """Give up an upload that is not finished; its pieces are removed."""
    hit = Upload.objects.filter(pk=upload.pk, finished_at=None).update(finished_at=timezone.now())
    if hit:
        _remove(upload.pk)


def unfinished(case: Case, person: User) -> QuerySet[Upload]:
    """A person's own uploads into a case that are neither finished nor given up."""
    return Upload.objects.filter(case=case, by=person, finished_at=None)


def held(case: Case, hashes: list[str]) -> dict[str, Item]:
    """Which of these SHA-256 a case holds already, each with its item. Other cases are not looked at."""
    wanted = [h for h in hashes if _HASH.match(h)]
    found = Item.objects.filter(case=case, blob__in=wanted).held().select_related("case")
    return {item.sha256: item for item in found}


def origin(upload: Upload) -> Origin:
    """What the acquisition will say."""
    return Origin(
        Acquisition.Method.UPLOAD,
        f"{settings.SOFTWARE}, web upload",
        upload.file_name,
        path=upload.path,
        url=upload.url,
        source=upload.source,
    )


def _clean(said: str) -> str:
    return said.replace("\x00", "")


# --- pieces -----------------------------------------------------------------------------------------------------


class Body(io.RawIOBase):
    """The body of a request, as far as it comes: ends early, without an error, when its sender goes away."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        super().__init__()
        self._stream, self._left = stream, size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        try:
            data = self._stream.read(min(len(buffer), self._left)) if self._left else b""
        except OSError:  # the connection broke: what came before is kept
            data = b""
        self._left = self._left - len(data) if data else 0
        buffer[: len(data)] = data
        return len(data)


class Staging(Folder):
    """The folder of one upload: few blobs, so no folders in it. Unlike the vault's, its files may be removed."""

    def prepare(self) -> None:
        self.root.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.root.mkdir(mode=0o700, exist_ok=True)
        new = not (self.root / "temp").exists()
        (self.root / "temp").mkdir(mode=0o700, exist_ok=True)
        if new:
            for folder in (self.root, self.root.parent):
                fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
                os.fsync(fd)
                os.close(fd)

    def path(self, name: str) -> Path:
        return self.root / name

    def _listed(self, form: re.Pattern[str]) -> Iterator[str]:
        return iter(sorted(name for name in os.listdir(self.root) if form.fullmatch(name)))


def rotate(*, progress: Progress = silent) -> Rotated:
    """See Vault.rotate: the keys of uploads that are under way. One that ends meanwhile needs no new key."""
    renewed = current = 0
    for entry in Path(settings.STAGING_DIR).glob("*/vault.json"):
        try:
            passed = Vault(Staging(entry.parent), vault.default_ring()).rotate(progress=progress)
        except FileNotFoundError:
            continue
        renewed, current = renewed + passed.renewed, current + passed.current
    return Rotated(renewed, current)


def _folder(upload_id: UUID) -> Path:
    return Path(settings.STAGING_DIR) / upload_id.hex


def _staging(upload: Upload) -> Vault:
    return Vault(Staging(_folder(upload.pk), room=vault.room()), vault.default_ring())


def _keep(upload: Upload, start: int, body: BinaryIO) -> bool:
    """Make a piece durable, then confirm it. Returns whether it was the last: that is confirmed by finishing."""
    waiting = UploadPart.objects.filter(upload=upload, start=start).first()
    if waiting and start + waiting.size == upload.length:  # came before; finishing it was cut short
        shutil.copyfileobj(body, io.BytesIO(), 1 << 20)
        return True
    stored = _staging(upload).put(body)
    if not stored.size:
        return False
    end = start + stored.size
    part = UploadPart(upload=upload, start=start, size=stored.size, stored_as=stored.sha256)
    with transaction.atomic(durable=True):
        if end < upload.length:
            if not Upload.objects.filter(pk=upload.pk, offset=start, finished_at=None).update(offset=end):
                raise Conflict(
                    "Another request sent this piece at the same time. Ask for the offset and go on."
                )
            UploadPart.objects.filter(upload=upload, start=start).delete()
            part.save(force_insert=True)
        else:
            UploadPart.objects.bulk_create([part], ignore_conflicts=True)
    return end == upload.length


class Pieces(io.RawIOBase):
    """All pieces of an upload, one after the other. Raises Damaged when they do not join."""

    def __init__(self, upload: Upload) -> None:
        super().__init__()
        self._staging, self._parts = _staging(upload), list(upload.parts.order_by("start"))
        self._reader: VaultReader | None = None
        place = 0
        for part in self._parts:
            if part.start != place:
                raise Damaged(
                    "The pieces of this upload do not join. Nothing was taken: send the file again."
                )
            place += part.size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        while True:
            if self._reader is None:
                if not self._parts:
                    return 0
                self._reader = self._staging.open(self._parts.pop(0).stored_as)
            count = self._reader.readinto(buffer)
            if count:
                return count
            self._reader.close()
            self._reader = None

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
        super().close()


# --- the end ----------------------------------------------------------------------------------------------------


def _finish(upload: Upload, actor: Actor) -> None:
    with _alone(upload):
        if Upload.objects.filter(pk=upload.pk, finished_at=None).exists():
            with contextlib.closing(Pieces(upload)) as stream:
                _acquire(upload, actor, stream)
    _remove(upload.pk)


def _acquire(upload: Upload, actor: Actor, stream: BinaryIO) -> None:
    """Take the whole file into its case, and settle the row in the same transaction."""

    def settle(acquired: Acquired) -> None:
        upload.item, upload.already_held = acquired.item, acquired.already_held
        upload.offset, upload.finished_at = upload.length, timezone.now()
        hit = Upload.objects.filter(pk=upload.pk, finished_at=None).update(
            item=upload.item,
            already_held=upload.already_held,
            offset=F("length"),
            finished_at=upload.finished_at,
        )
        if not hit:
            raise Conflict("Another request finished this file at the same time. Ask for the offset.")

    try:
        ingest.acquire(
            case=upload.case,
            actor=actor,
            stream=stream,
            origin=origin(upload),
            expected_size=upload.length,
            expected_sha256=upload.expected_sha256 or None,
            settle=settle,
        )
    except BadInput:
        upload.case.refresh_from_db()
        if (
            upload.case.status != Case.Status.CLOSED
        ):  # not the bytes announced: no further piece can make them so
            discard(upload=upload)
        raise


@contextlib.contextmanager
def _alone(upload: Upload) -> Iterator[None]:
    """Only one process at a time puts an upload together. Raises Conflict when another is at it."""
    folder = _folder(upload.pk)
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:  # finished meanwhile, and cleared away
        yield
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise Conflict(
            "All bytes are here and are being put together. Nothing is lost: ask again soon."
        ) from error
    finally:
        os.close(lock)


def _remove(upload_id: UUID) -> None:
    """Remove the pieces of an upload whose row says that it has ended. What cannot be removed now is swept later."""
    UploadPart.objects.filter(
        upload=upload_id
    ).delete()  # first: the sweeper goes by the folders that are left
    folder = _folder(upload_id)
    try:
        if folder.exists():
            shutil.rmtree(folder)
    except OSError as error:
        log.warning("pieces left behind", extra={"upload": str(upload_id), "error": error.strerror})


def sweep() -> int:
    """Remove pieces that a killed process left of ended uploads; return of how many. A folder without a row stays."""
    root, removed = Path(settings.STAGING_DIR), 0
    if not root.is_dir():
        return 0
    ids = [UUID(hex=entry.name) for entry in os.scandir(root) if re.fullmatch(r"[0-9a-f]{32}", entry.name)]
    for upload_id in (
        Upload.objects.filter(pk__in=ids[:500]).exclude(finished_at=None).values_list("pk", flat=True)
    ):
        _remove(upload_id)
        removed += 1
    return removed
