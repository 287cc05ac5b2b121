"""Runs inside the sandbox: perceptual hashes of the small pictures that lie one after the other in /in/original.

Imports nothing of ours. Says for each picture that is not too plain its place and its hashes, as records: a line of
JSON with "record", "value" and "size", then that many bytes. Our side believes none of it.
"""

from __future__ import annotations

import io
import json
import sys

ASKED = json.loads(sys.argv[1])
sys.path.append(ASKED["packages"])  # started without site

import numpy  # noqa: E402
from PIL import Image  # noqa: E402

CELLS, KEPT = ASKED["cells"], ASKED["kept"]
# Rows 1 to KEPT of the discrete cosine transform (type II), and its coefficients from the coarse to the fine
WAVES = numpy.cos(numpy.pi * (2 * numpy.arange(CELLS) + 1) * numpy.arange(1, KEPT + 1)[:, None] / (2 * CELLS))
COARSE_FIRST = sorted(range(KEPT * KEPT), key=lambda n: (n // KEPT + n % KEPT, n))


def tell(record: str, value: object, data: bytes = b"") -> None:
    line = json.dumps({"record": record, "value": value, "size": len(data)}) + "\n"
    sys.stdout.buffer.write(line.encode("ascii") + data)


def fields(sheet: Image.Image, count: int, columns: int, gap: int) -> list[Image.Image]:
    """The frames of a sheet, row by row; a picture that is no sheet is its own only field."""
    rows = -(-count // columns)
    wide, high = (sheet.width + gap) // columns, (sheet.height + gap) // rows
    corners = [((n % columns) * wide, (n // columns) * high) for n in range(count)]
    return [sheet.crop((x, y, x + wide - gap, y + high - gap)) for x, y in corners]


def hashes(picture: Image.Image) -> bytes | None:
    """The bits of every window; None for a picture too plain to tell apart from other plain ones."""
    grey = numpy.asarray(picture.resize((CELLS, CELLS), Image.Resampling.BOX), dtype=numpy.float32)
    if grey.std() < ASKED["least_contrast"]:
        return None
    found = []
    for left, top, right, bottom in ASKED["windows"]:
        box = (left * picture.width, top * picture.height, right * picture.width, bottom * picture.height)
        cut = picture.resize((CELLS, CELLS), Image.Resampling.BOX, box=box)
        waves = (WAVES @ numpy.asarray(cut, dtype=numpy.float64) @ WAVES.T).ravel()[COARSE_FIRST]
        found.append(numpy.packbits(waves > numpy.median(waves)))
    return numpy.concatenate(found).tobytes()


def main() -> None:
    with open("/in/original", "rb") as stream:
        for number, (size, count, columns, gap) in enumerate(ASKED["pictures"]):
            data = stream.read(size)
            try:
                with Image.open(io.BytesIO(data), formats=["JPEG"]) as opened:
                    grey = opened.convert("L")
            except (OSError, ValueError):
                continue
            for place, field in enumerate(fields(grey, count, columns, gap)):
                bits = hashes(field)
                if bits is not None:
                    tell("print", [number, place], bits)


main()
