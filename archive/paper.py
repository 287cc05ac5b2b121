"""A checkpoint on paper: one page for a safe. What is on it can be typed or scanned in again and verified."""

import hashlib
import os
from pathlib import Path

import segno
from django.conf import settings
from django.template.loader import render_to_string
from django.utils import timezone
from mnemonic import Mnemonic

from archive import vault
from archive.custody.keychain import keys_in_force
from archive.custody.notes import ED25519, parse_note, signature_line
from archive.errors import BadInput, NotFound
from archive.models import Checkpoint
from archive.printing import FACES, print_page


def words(digest: bytes) -> list[str]:
    """32 bytes as 24 words (BIP-39, English; the last one holds a checksum)."""
    return Mnemonic("english").to_mnemonic(digest).split()


def short_note(note: str) -> str:
    """The checkpoint with its Ed25519 signatures alone: still a signed note, and small enough for a QR code."""
    parsed = parse_note(note)
    lines = [signature_line(*one) for one in parsed.signatures if len(one[2]) == 64]
    return parsed.text.decode() + "\n" + "".join(lines)


def page(checkpoint: Checkpoint) -> bytes:
    """The page as PDF. Raises ToolFailed when it cannot be printed."""
    digest = hashlib.sha256(checkpoint.note.encode()).digest()
    parsed = parse_note(checkpoint.note)
    short = short_note(checkpoint.note)
    code = segno.make(short, error="m", micro=False)
    shown = {
        "faces": FACES,
        "software": settings.SOFTWARE,
        "checkpoint": checkpoint,
        "origin": parsed.origin,
        "short": short,
        "rest": checkpoint.note.removeprefix(short),
        "digest": " ".join(digest.hex()[i : i + 8] for i in range(0, 64, 8)),
        "words": words(digest),
        "code": code.svg_inline(border=2, omitsize=True),
        "keys": [key for key in keys_in_force().at(checkpoint.size) if key.type == ED25519],
        "cosignatures": checkpoint.cosignatures.order_by("stated_at"),
        "timestamps": checkpoint.timestamps.order_by("stated_at"),
        "printed": timezone.now(),
    }
    with vault.scratch() as folder:
        return print_page(render_to_string("archive/paper.html", shown), folder)


def write(out: Path) -> Path:
    """Write the newest checkpoint's page into a new file. Raises NotFound without one, BadInput where it cannot be."""
    newest = Checkpoint.objects.first()
    if newest is None:
        raise NotFound("No checkpoint was signed yet: run `manage.py custody checkpoint`.")
    content = page(newest)
    try:
        with open(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), "wb") as file:
            file.write(content)
    except OSError as error:
        raise BadInput(f"The page cannot be written to {out}: {error.strerror}.") from error
    return out
