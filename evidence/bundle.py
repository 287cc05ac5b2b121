"""Evidence bundles: ask for one, build it, take it out. docs/bundle.md says what is in one.

request   a person's (or the shell operator's) act: row, event, and the job that builds
build     in a worker: into the vault, as one encrypted .zip; nothing in plain text rests on disk but in scratch
export    at the shell: request and build in one, into a folder or .zip where the operator says
download  a person takes a built bundle out: an event, then the bytes
"""

import hashlib
import logging
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from archive import access, custody, jobs, vault
from archive.custody import Actor
from archive.custody.canonical import canonical, timestamp
from archive.custody.checkpoint import public_bytes, signing_key
from archive.errors import AmparoError, BadInput, Conflict, StorageFull
from archive.jobs import job
from archive.models import Blob, Case, Item, Job
from archive.vault import Progress, silent
from evidence import bag, contents, report
from evidence.disclosure import DEFAULT, Disclosure
from evidence.models import Bundle, BundleItem

log = logging.getLogger("amparo.evidence")

FORMAT = "amparo-bundle 1"
VERIFIER = Path(__file__).parent / "verifier" / "verify_bundle.py"
ATTEMPTS = 3
BATCH = 500
README = """This is an evidence bundle: original files, what is known of them, and who did what to them.

To check it, with Python 3.10 or newer and its "cryptography" package (pip install cryptography):

    python verify_bundle.py FOLDER-OR-ZIP --key FINGERPRINT

Take verify_bundle.py and the fingerprint of the archive's key from the archive itself, by another way than this
bundle: whoever could change the bundle could change the copies inside it.

data/report.pdf        for reading
data/originals         the files as they came in, byte for byte
data/metadata          what is claimed and established about them, as JSON and CSV
data/decisions.*       what people decided
data/detections.*      what models suggested; none of it is a finding
data/custody           the events of the custody log, and what is needed to verify them

It is also an ordinary BagIt bag (RFC 8493). docs/bundle.md and docs/verify.md of Amparo describe every byte.
"""


def fingerprint() -> str:
    """SHA-256 of the signing key's 32 raw public bytes, in hex: what recipients must get by another way."""
    return hashlib.sha256(public_bytes(signing_key())).hexdigest()


# --- asking -------------------------------------------------------------------------------------------------


def request(
    *,
    case: Case,
    actor: Actor,
    items: Iterable[UUID] | None = None,
    disclosed: Iterable[str] = DEFAULT,
    reason: str = "",
) -> Bundle:
    """Ask for a bundle of these items (None: all of the case); a worker builds it into the vault.

    Raises NotAllowed without the export permission, BadInput for items that are not the case's or none at all,
    KeyUnavailable without a signing key.
    """
    return _request(case, actor, items, disclosed, reason, Bundle.Destination.VAULT)


def _request(
    case: Case,
    actor: Actor,
    items: Iterable[UUID] | None,
    disclosed: Iterable[str],
    reason: str,
    destination: Bundle.Destination,
) -> Bundle:
    access.require(actor, "export", case)
    chosen = _choose(case, items)
    listed = "".join(sorted(f"{pk}\n" for pk in chosen))
    bundle = Bundle(
        case=case,
        item_count=len(chosen),
        items_sha256=hashlib.sha256(listed.encode()).hexdigest(),
        disclosed=list(Disclosure(disclosed).groups),
        key=fingerprint(),
        destination=destination,
        requested_by=actor.user,
        requested_at=timezone.now(),
    )
    with transaction.atomic(durable=True):
        custody.write(bundle, event="bundle.requested", actor=actor, reason=reason.strip())
        BundleItem.objects.bulk_create(
            (BundleItem(bundle=bundle, item_id=pk) for pk in chosen), batch_size=BATCH
        )
        if destination == Bundle.Destination.VAULT:
            jobs.enqueue("evidence.build", subject=bundle, once=True, payload={"bundle": str(bundle.pk)})
    return bundle


def _choose(case: Case, items: Iterable[UUID] | None) -> list[UUID]:
    held = set(Item.objects.filter(case=case).values_list("pk", flat=True))
    chosen = held if items is None else set(items)
    if chosen - held:
        raise BadInput(
            f"{len(chosen - held)} of these items are not in case {case.code}. Nothing was exported."
        )
    if not chosen:
        raise BadInput("There is no item to export: choose at least one.")
    return sorted(chosen)


# --- building -----------------------------------------------------------------------------------------------


@job("evidence.build", queue="default", attempts=ATTEMPTS, limit_s=12 * 3600)
def build(row: Job, case: Case) -> None:
    """Build a requested bundle into the vault. A second run of the same request changes nothing."""
    bundle = Bundle.objects.select_related("case").get(pk=row.payload["bundle"])
    if bundle.state == Bundle.State.BUILT:
        return
    actor = Actor.system("worker")
    try:
        with _entries(bundle, actor=actor) as (entries, sealed):
            stored = vault.put(bag.Stream(bag.zip_pieces(entries, bundle.name)))
        _record_items(bundle, actor)
        _finish(bundle, actor, sealed[0], stored)
    except Exception as error:
        if row.attempts >= ATTEMPTS or isinstance(error, AmparoError) and not error.retry:
            _fail(bundle, actor, error)
        raise


def export(
    *,
    case: Case,
    out: Path,
    actor: Actor,
    items: Iterable[UUID] | None = None,
    disclosed: Iterable[str] = DEFAULT,
    reason: str = "",
    as_zip: bool = False,
    progress: Progress = silent,
) -> Bundle:
    """Write a bundle to a path that does not exist yet: all of it or, when this raises, nothing.

    The items' events are recorded before the bundle appears under its name. Raises as `request`, and BadInput when
    the path exists or cannot be written, StorageFull, Damaged.
    """
    out = out.absolute()
    if os.path.lexists(out) or not out.parent.is_dir():
        raise BadInput(
            f"{out} exists already, or its folder does not. Nothing was exported: name another path."
        )
    bundle = _request(case, actor, items, disclosed, reason, Bundle.Destination.SHELL)
    draft = out.parent / f".{out.name}.{secrets.token_hex(4)}.partial"
    try:
        with _entries(bundle, actor=actor, progress=progress) as (entries, sealed):
            if as_zip:
                bag.write_zip(entries, bundle.name, draft)
            else:
                bag.write_folder(entries, draft)
        _record_items(bundle, actor)
        _finish(bundle, actor, sealed[0])
        if os.path.lexists(out):
            raise BadInput(
                f"{out} has come into being meanwhile. Nothing was written there: name another path."
            )
        draft.rename(out)
        bag.sync(out.parent)
    except BaseException as error:
        bag.remove(draft)
        _fail(bundle, actor, error)
        if isinstance(error, OSError):
            raise _plain(error) from error
        raise
    return bundle


def _plain(error: OSError) -> AmparoError:
    if error.errno in (28, 122):  # ENOSPC, EDQUOT
        return StorageFull(
            "There is no room for the bundle. What was written of it is removed: make room and repeat."
        )
    return BadInput(
        f"The bundle cannot be written there: {error.strerror}. What was written of it is removed."
    )


@contextmanager
def _entries(
    bundle: Bundle, *, actor: Actor, progress: Progress = silent
) -> Iterator[tuple[Iterator[bag.Entry], list[str]]]:
    """All files of a bundle in order, and a list that gets the statement's hash once they have passed."""
    key = signing_key()
    if hashlib.sha256(public_bytes(key)).hexdigest() != bundle.key:
        raise Conflict("The signing key has changed since this bundle was asked for: ask for it again.")
    with vault.scratch() as scratch:
        data = scratch / "data"
        data.mkdir()
        held = contents.write(bundle, data, actor=actor, pages=report.PAGES, progress=progress)
        sealed: list[str] = []

        def info(listed: bag.Manifest) -> dict[str, str]:
            return {
                "Bag-Software-Agent": settings.SOFTWARE,
                "Bagging-Date": f"{timezone.now():%Y-%m-%d}",
                "External-Description": f"Evidence bundle of case {bundle.case.code}",
                "External-Identifier": f"urn:uuid:{bundle.pk}",
                "Payload-Oxum": f"{listed.octets}.{len(listed.hashes)}",
            }

        def seal(tagmanifest_sha256: str) -> dict[str, bytes]:
            statement = {
                "format": FORMAT,
                "bundle": str(bundle.pk),
                "case": {"id": str(bundle.case_id), "code": bundle.case.code},
                "created": timestamp(timezone.now()),
                "software": settings.SOFTWARE,
                "disclosed": bundle.disclosed,
                "items": held.items,
                "events": held.events,
                "subjects": held.subjects,
                "key": bundle.key,
                "tagmanifest_sha256": tagmanifest_sha256,
            }
            raw = canonical(statement) + b"\n"
            sealed.append(hashlib.sha256(raw).hexdigest())
            pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            return {
                "signature/statement.json": raw,
                "signature/statement.sig": key.sign(raw),
                "signature/public-key.pem": pem,
            }

        tags = {"README.txt": README.encode(), "verify_bundle.py": VERIFIER.read_bytes()}
        with report.making(bundle, held, scratch) as finished:
            yield bag.bag(_payload(data, held, finished, progress), tags, info, seal), sealed


def _payload(
    data: Path, held: contents.Contents, finished: Callable[[], Path], progress: Progress
) -> Iterator[bag.Entry]:
    """Files of the log and metadata, originals, and last the report, which was being made meanwhile."""
    for file in sorted(f for f in data.rglob("*") if f.is_file()):
        yield bag.Entry(str(file.relative_to(data.parent)), _file_pieces(file))
    total, done = sum(size for _, _, size in held.originals), 0
    for path, sha256, size in held.originals:
        yield bag.Entry(path, _original_pieces(sha256), sha256)
        done += size
        progress("write", done, total)
    progress("report", 0)
    yield bag.Entry("data/report.pdf", _file_pieces(finished()))


def _file_pieces(file: Path) -> Iterator[bytes]:
    with file.open("rb") as stream:
        while piece := stream.read(bag.PIECE):
            yield piece


def _original_pieces(sha256: str) -> Iterator[bytes]:
    with vault.open(sha256) as stream:
        while piece := stream.read(bag.PIECE):
            yield piece


# --- what the log says of it --------------------------------------------------------------------------------


def _record_items(bundle: Bundle, actor: Actor) -> None:
    """Say in each item's chain, once, that it went into this bundle."""
    waiting = BundleItem.objects.filter(bundle=bundle, recorded=False)
    while True:
        with transaction.atomic(durable=True):
            batch = list(
                waiting.select_for_update(of=("self",)).select_related("item").order_by("item_id")[:BATCH]
            )
            if not batch:
                return
            for entry in batch:
                custody.record(
                    entry.item,
                    event="item.exported",
                    actor=actor,
                    payload={"bundle": str(bundle.pk), "original": entry.item.sha256},
                )
            waiting.filter(pk__in=[entry.pk for entry in batch]).update(recorded=True)


def _finish(bundle: Bundle, actor: Actor, statement_sha256: str, stored: vault.Stored | None = None) -> None:
    now = timezone.now()
    with transaction.atomic(durable=True):
        blob = None
        if stored:
            blob = Blob(sha256=stored.sha256, size=stored.size, stored_at=now)
            Blob.objects.bulk_create([blob], ignore_conflicts=True)
        custody.change(
            bundle,
            event="bundle.built",
            actor=actor,
            expect={"state__in": [Bundle.State.REQUESTED, Bundle.State.FAILED]},
            state=Bundle.State.BUILT,
            problem="",
            blob=blob,
            size=stored.size if stored else None,
            statement_sha256=statement_sha256,
            finished_at=now,
        )


def _fail(bundle: Bundle, actor: Actor, error: BaseException) -> None:
    """Say that it could not be built. What failed stays the error that the caller raises."""
    words = error.sentence if isinstance(error, AmparoError) else type(error).__name__
    with transaction.atomic(durable=True):
        custody.change(
            bundle,
            event="bundle.failed",
            actor=actor,
            reason=words,
            state=Bundle.State.FAILED,
            problem=words[:1000],
            finished_at=timezone.now(),
        )


# --- taking it out ------------------------------------------------------------------------------------------


def download(*, bundle: Bundle, actor: Actor) -> None:
    """Record that a person takes a built bundle out. Raises NotAllowed, BadInput while it is not built."""
    access.require(actor, "export", bundle.case)
    if bundle.state != Bundle.State.BUILT or bundle.blob_id is None:
        raise BadInput("This bundle cannot be downloaded: it is not built, or was written at the shell.")
    with transaction.atomic(durable=True):
        custody.record(bundle, event="bundle.downloaded", actor=actor, payload={"sha256": bundle.blob_id})
