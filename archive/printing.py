"""What printed pages have in common: the program that makes PDF of HTML, offline, and its fonts."""

import os
import subprocess
import sys
from pathlib import Path

from django.conf import settings

from archive.errors import ToolFailed

PROGRAM = Path(__file__).parent / "pdf.py"
FONTS = settings.ROOT / "static" / "vendor" / "plex"
FACES = (
    ("Plex", "100 700", "ibm-plex-sans-latin-wght-normal"),
    ("Plex Extended", "100 700", "ibm-plex-sans-latin-ext-wght-normal"),
    ("Plex Cyrillic", "100 700", "ibm-plex-sans-cyrillic-wght-normal"),
    ("Plex Arabic", "400", "ibm-plex-sans-arabic-arabic-400-normal"),
    ("Plex Arabic", "600", "ibm-plex-sans-arabic-arabic-600-normal"),
    ("Plex Mono", "400", "ibm-plex-mono-latin-400-normal"),
    ("Plex Mono Extended", "400", "ibm-plex-mono-latin-ext-400-normal"),
    ("Plex Mono Cyrillic", "400", "ibm-plex-mono-cyrillic-400-normal"),
)
LIMIT_S = 60


def print_page(html: str, folder: Path) -> bytes:
    """A short page as PDF; `folder` is private and emptied by the caller. Raises ToolFailed."""
    page, pdf = folder / "page.pdf.html", folder / "page.pdf"
    page.write_text(html, encoding="utf-8")
    environment = {"PATH": os.defpath, "HOME": str(folder), "LANG": "C.UTF-8"}
    command = [sys.executable, "-I", PROGRAM, FONTS, page]
    try:
        done = subprocess.run(
            command,
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=LIMIT_S,
        )
    except subprocess.TimeoutExpired as error:
        raise ToolFailed(f"The page took longer than {LIMIT_S} s to print. Nothing was written.") from error
    if done.returncode != 0:
        words = done.stderr[-200:].decode(errors="replace")
        raise ToolFailed(
            f"The page could not be printed (status {done.returncode}: {words}). Nothing was written."
        )
    return pdf.read_bytes()
