"""HTML of ours to PDF, in a process of its own: `python -I pdf.py IN.html OUT.pdf FONTS`.

A long report takes time and memory; here both end with the process, and originals are written meanwhile. Nothing is
fetched: the only address that leads anywhere is that of a font in FONTS.
"""

import sys
from pathlib import Path

from weasyprint import HTML
from weasyprint.urls import URLFetcher, URLFetcherResponse

SCHEME = "amparo-font:"


class OurFonts(URLFetcher):
    """Gives out the fonts of one folder and nothing else."""

    def __init__(self, folder: Path) -> None:
        super().__init__(allowed_protocols=())
        self.fonts = {f"{SCHEME}{file.stem}": file for file in folder.glob("*.woff2")}

    def fetch(self, url: str, headers: dict[str, str] | None = None) -> URLFetcherResponse:
        """Open a font. Raises ValueError for any other address."""
        if url not in self.fonts:
            raise ValueError("A report fetches nothing.")
        return URLFetcherResponse(url, self.fonts[url].read_bytes(), {"Content-Type": "font/woff2"})


def as_pdf(html: str, fonts: Path) -> bytes:
    """Turn a page into PDF."""
    return HTML(string=html, url_fetcher=OurFonts(fonts)).write_pdf()


if __name__ == "__main__":
    source, target, folder = map(Path, sys.argv[1:])
    target.write_bytes(as_pdf(source.read_text(encoding="utf-8"), folder))
