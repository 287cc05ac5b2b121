"""Shows that the path of a trained indicator works, on copies of real photographs into which a part of another one was pasted.

    python benchmarks/indicator.py FOLDER_OF_PHOTOGRAPHS SCRATCH

writes SCRATCH/plain and SCRATCH/spliced: of each photograph a copy saved anew (JPEG, quality 90), and one with a part (a fifth of each side,
at a place and from another photograph chosen by lot) of which the edge is softened, saved the same way. Then

    manage.py triage train-indicator --dataset SCRATCH --positive spliced --name spliced

What is measured says how well these splices are told from these photographs and nothing about any other.
"""

import random
import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter


def main(folder: Path, scratch: Path) -> None:
    """Write both folders."""
    chance = random.Random(0)
    paths = sorted(path for path in folder.rglob("*.jpg"))
    for kind in ("plain", "spliced"):
        (scratch / kind).mkdir(parents=True, exist_ok=True)
    for number, path in enumerate(paths):
        name = f"{number:04}.jpg"
        with Image.open(path) as opened, Image.open(chance.choice(paths)) as other:
            picture = opened.convert("RGB")
            part = other.convert("RGB").resize((max(8, picture.width // 5), max(8, picture.height // 5)))
        picture.save(scratch / "plain" / name, "JPEG", quality=90)
        mask = Image.new("L", part.size, 0)
        ImageDraw.Draw(mask).rectangle((3, 3, part.width - 4, part.height - 4), fill=255)
        place = chance.randrange(picture.width - part.width), chance.randrange(picture.height - part.height)
        picture.paste(part, place, mask.filter(ImageFilter.GaussianBlur(2)))
        picture.save(scratch / "spliced" / name, "JPEG", quality=90)
    print(f"{len(paths)} photographs, each twice, in {scratch}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
