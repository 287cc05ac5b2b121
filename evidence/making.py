"""Make one volume of a bundle: everything that lies in it, in order, and the statement that is signed.

The log is published first, and all volumes are cut at that checkpoint. Where a policy says who must have witnessed it and
they have not, nothing is signed.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.conf import settings
from django.utils import timezone

from archive import vault
from archive.custody.canonical import canonical, timestamp
from archive.custody.signers import log_signer
from archive.errors import Conflict
from archive.models import Checkpoint
from archive.vault import Progress
from evidence import bag, contents, formats, proofs, report
from evidence.models import Bundle, volume_name

FORMAT = "amparo-bundle 2"
VERIFIER = Path(__file__).parent / "verifier" / "verify_bundle.py"
README = """This is an evidence bundle: original files, what is known of them, and who did what to them.

To check it, with Python 3.10 or newer and its "cryptography" package (pip install cryptography):

    python verify_bundle.py FOLDER-OR-ZIP --key FINGERPRINT

Take verify_bundle.py and the fingerprint of the archive's key from the archive itself, by another way than this
bundle: whoever could change the bundle could change the copies inside it.

data/report*.pdf       for reading
data/custody-statement.*  where custody begins, and what cannot be claimed
data/certification.*   prepared for a person to complete and sign
data/originals         the files as they came in, byte for byte
data/redacted          files in which something was covered, where they were asked for
data/metadata          what is claimed and established about them, as JSON and CSV
data/decisions.*       what people decided
data/detections.*      what models suggested; none of it is a finding
data/custody           the events of the custody log, and the proofs that they are all there were
data/interchange       the same in the forms that other programs read

It is also an ordinary BagIt bag (RFC 8493). docs/bundle.md and docs/verify.md of Amparo describe every byte.
"""


def fingerprint() -> str:
    """SHA-256 of the signing key's 32 raw public bytes, in hex: what recipients must get by another way."""
    return hashlib.sha256(log_signer().public_key()).hexdigest()


@dataclass
class Volume:
    """One volume of a bundle, and what came of it."""

    bundle: Bundle
    number: int
    of: int
    checkpoint: Checkpoint
    known: dict[str, bag.Digests] = field(default_factory=dict)  # files that an earlier attempt wrote
    items: int = 0
    statement_sha256: str = ""

    @property
    def name(self) -> str:
        """Name of its folder."""
        return volume_name(self.bundle.name, self.number, self.of)


@contextmanager
def entries(volume: Volume, progress: Progress) -> Iterator[Iterator[bag.Entry]]:
    """All files of a volume in order. Its hash is known once they have passed."""
    bundle = volume.bundle
    signer = log_signer()
    public = signer.public_key()
    if hashlib.sha256(public).hexdigest() != bundle.key:
        raise Conflict("The signing key has changed since this bundle was asked for: ask for it again.")
    with vault.scratch() as scratch:
        data, spool = scratch / "data", scratch / "spool"
        data.mkdir()
        spool.mkdir()
        held = contents.write(
            bundle,
            data,
            spool,
            volume.checkpoint,
            volume=volume.number,
            of=volume.of,
            progress=progress,
        )
        volume.items = held.items
        progress("describe", 0)
        facts = _facts(volume, held.items)
        formats.write_all(data, facts)

        def info(listed: bag.Manifest) -> dict[str, str]:
            count = {"Bag-Count": f"{volume.number} of {volume.of}"} if volume.of > 1 else {}
            return {
                **formats.bag_info(),
                "Bag-Software-Agent": settings.SOFTWARE,
                **count,
                "Bagging-Date": f"{timezone.now():%Y-%m-%d}",
                "External-Description": f"Evidence bundle of case {bundle.case.code}",
                "External-Identifier": f"urn:uuid:{bundle.pk}",
                "Payload-Oxum": f"{listed.octets}.{listed.files}",
            }

        def seal(tagmanifests: dict[str, str]) -> dict[str, bytes]:
            raw = canonical(_statement(volume, held, tagmanifests)) + b"\n"
            volume.statement_sha256 = hashlib.sha256(raw).hexdigest()
            key = Ed25519PublicKey.from_public_bytes(public)
            return {
                "signature/statement.json": raw,
                "signature/statement.sig": signer.sign(raw),
                "signature/public-key.pem": key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
            }

        tags = {"README.txt": README.encode(), "verify_bundle.py": VERIFIER.read_bytes(), **formats.tags()}
        with report.making(data, facts, spool, pictures=volume.bundle.pictures) as finished:
            payload = _payload(volume, data, spool, held.octets, finished, progress)
            yield bag.bag(payload, tags, info, seal, scratch)


def _facts(volume: Volume, items: int) -> formats.BundleFacts:
    bundle = volume.bundle
    return formats.BundleFacts(
        bundle=str(bundle.pk),
        name=volume.name,
        requested_at=timestamp(bundle.requested_at),
        software=settings.SOFTWARE,
        log=settings.NAME_IN_LOG,
        key=bundle.key,
        disclosed=tuple(bundle.disclosed),
        items=items,
        volume=volume.number,
        volumes=volume.of,
    )


def _statement(volume: Volume, held: contents.Contents, tagmanifests: dict[str, str]) -> dict:
    bundle, checkpoint = volume.bundle, volume.checkpoint
    return {
        "format": FORMAT,
        "bundle": str(bundle.pk),
        "case": {"id": str(bundle.case_id), "code": bundle.case.code},
        "checkpoint": {
            "origin": checkpoint.note.split("\n", 1)[0],
            "size": checkpoint.size,
            "root": checkpoint.root,
        },
        "map": {"size": checkpoint.map.size, "root": checkpoint.map.root},
        "created": timestamp(timezone.now()),
        "software": settings.SOFTWARE,
        "destination": bundle.destination,
        "disclosed": bundle.disclosed,
        "files": bundle.files,
        "items": held.items,
        "events": held.events,
        "subjects": held.subjects,
        "key": bundle.key,
        "volume": {"number": volume.number, "of": volume.of},
        **{f"tagmanifest_{algorithm}": digest for algorithm, digest in tagmanifests.items()},
    }


def _payload(
    volume: Volume,
    data: Path,
    spool: Path,
    octets: int,
    finished: Callable[[], list[Path]],
    progress: Progress,
) -> Iterator[bag.Entry]:
    """Files of the log and metadata, originals and redactions, and last the PDF files, which were being made meanwhile."""
    for file in _files(data):
        yield bag.Entry(str(file.relative_to(data.parent)), _file_pieces(file))
    yield from proofs.single(spool, volume.checkpoint)
    done = 0
    for path, sha256, size in contents.Files.read(spool / contents.FILES):
        progress("write", done, octets)
        if path in volume.known:
            yield bag.Entry(path, (), sha256, volume.known[path])
        else:
            yield bag.Entry(path, _stored_pieces(sha256, progress, done, octets), sha256)
        done += size
    progress("write", octets, octets)
    progress("report", 0)
    for file in finished():
        yield bag.Entry(f"data/{file.name}", _file_pieces(file))


def _files(data: Path) -> Iterator[Path]:
    """All files of a folder, folder by folder, in the order of their names."""
    for folder, folders, names in os.walk(data):
        folders.sort()
        for name in sorted(names):
            yield Path(folder, name)


def _file_pieces(file: Path) -> Iterator[bytes]:
    with file.open("rb") as stream:
        while piece := stream.read(bag.PIECE):
            yield piece


def _stored_pieces(sha256: str, progress: Progress, done: int, octets: int) -> Iterator[bytes]:
    with vault.open(sha256) as stream:
        while piece := stream.read(bag.PIECE):
            yield piece
            done += len(piece)
            progress("write", done, octets)
