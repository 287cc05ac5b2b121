"""HTML of ours to PDF, in a process of its own: `python -I pdf.py FONTS NAME.pdf.html...` writes each NAME.pdf beside it.

A long report takes time and memory; here both end with the process, and originals are written meanwhile. Nothing is
fetched: the only addresses that lead anywhere are those of a font in FONTS and of a picture in the folder
NAME.pdf.pictures, where there is one, or of one field of it as in a chessboard: `NAME/FIELD-COLUMNS-ROWS-GAP`, counted
from 0, row by row, with so many pixels between fields. A picture is decoded and drawn again, small and without anything else
that its file may hold. The same page gives the same bytes.
"""

import gc
import hashlib
import io
import os
import sys
import tempfile
from pathlib import Path

from PIL import Image
from weasyprint import HTML
from weasyprint.text.fonts import FontConfiguration
from weasyprint.urls import URLFetcher, URLFetcherResponse

FONT, PICTURE = "amparo-font:", "amparo-picture:"
SIDE, QUALITY = 900, 75  # pixels of the longest side, JPEG
MAX_PIXELS = 100_000_000
DECODERS = ("JPEG", "PNG")


class OurFiles(URLFetcher):
    """Gives out the fonts of one folder and the pictures of another, and nothing else."""

    def __init__(self, fonts: Path, pictures: Path) -> None:
        super().__init__(allowed_protocols=())
        self.fonts = {f"{FONT}{file.stem}": file for file in fonts.glob("*.woff2")}
        self.pictures = {f"{PICTURE}{file.name}": file for file in pictures.glob("*")}

    def fetch(self, url: str, headers: dict[str, str] | None = None) -> URLFetcherResponse:
        """Open a font or a picture. Raises ValueError for any other address."""
        picture, _, field = url.partition("/")
        if picture in self.pictures:
            drawn = small(self.pictures[picture], *map(int, field.split("-") if field else ()))
            return URLFetcherResponse(url, drawn, {"Content-Type": "image/jpeg"})
        if url not in self.fonts:
            raise ValueError("A report fetches nothing.")
        return URLFetcherResponse(url, self.fonts[url].read_bytes(), {"Content-Type": "font/woff2"})


def small(file: Path, field: int = 0, columns: int = 1, rows: int = 1, gap: int = 0) -> bytes:
    """A picture, or one field of it, drawn again as a small JPEG. Raises ValueError or OSError for what is none; then none
    is shown."""
    with Image.open(file, formats=DECODERS) as picture:
        if picture.width * picture.height > MAX_PIXELS:
            raise ValueError("The picture is too large.")
        picture.draft("RGB", (SIDE, SIDE))
        drawn = picture.convert("RGB")
    row, column = divmod(field, columns)
    width, height = (drawn.width + gap) // columns, (drawn.height + gap) // rows
    drawn = drawn.crop((column * width, row * height, (column + 1) * width - gap, (row + 1) * height - gap))
    drawn.thumbnail((SIDE, SIDE))
    out = io.BytesIO()
    Image.frombytes("RGB", drawn.size, drawn.tobytes()).save(out, "JPEG", quality=QUALITY)
    return out.getvalue()


def as_pdf(html: str, fonts: Path, pictures: Path, unpacked: FontConfiguration) -> bytes:
    """Turn a page into PDF. Fonts that another page has unpacked are not unpacked again."""
    identifier = hashlib.sha256(html.encode()).digest()[:16]
    page = HTML(string=html, url_fetcher=OurFiles(fonts, pictures))
    return page.write_pdf(font_config=unpacked, pdf_identifier=identifier)


if __name__ == "__main__":
    folder, *sources = map(Path, sys.argv[1:])
    gc.disable()  # a document lives as long as the process; looking through it again and again takes a seventh of the time
    tempfile.tempdir = str(sources[0].parent)  # fonts are unpacked there
    unpacked = FontConfiguration()
    for source in sources:
        target = source.with_suffix("")
        gallery = target.with_name(f"{target.name}.pictures")
        target.write_bytes(as_pdf(source.read_text(encoding="utf-8"), folder, gallery, unpacked))
    os._exit(0)  # Pango's own thread may still run, in a library that an orderly end unloads under it
