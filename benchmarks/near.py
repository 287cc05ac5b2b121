"""Near-duplicates: how many altered copies of a picture or a film are tied to it, and how many others are wrongly.

    python benchmarks/near.py --pictures DIR --videos DIR [--every 4] [--json]

Every picture under the folder is compared with every other, and every n-th with altered copies of itself; likewise each
video. Pictures go through the same thumbnail, sandbox and comparison as those of an archive; videos through a storyboard.
The folders hold no two copies of one original: a tie between two of their files is counted as wrong, and named.
"""

import argparse
import io
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
import django  # noqa: E402

django.setup()
from archive.media import probe, storyboard  # noqa: E402
from triage import near  # noqa: E402


def encoded(picture: Image.Image, quality: int) -> Image.Image:
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=quality)
    return Image.open(out)


def cut(picture: Image.Image, left: float, top: float, right: float, bottom: float) -> Image.Image:
    """The picture without these shares at its sides."""
    wide, high = picture.size
    return picture.crop(tuple(map(round, (left * wide, top * high, (1 - right) * wide, (1 - bottom) * high))))


def at_random(most: float) -> Callable[[Image.Image], Image.Image]:
    """A crop of up to so much at each side, the same for pictures of one size."""

    def crop(picture: Image.Image) -> Image.Image:
        return cut(picture, *np.random.default_rng(picture.width * picture.height).uniform(0, most, 4))

    return crop


def marked(picture: Image.Image) -> Image.Image:
    """A white label over 2.5 % of it."""
    picture, (wide, high) = picture.copy(), picture.size
    ImageDraw.Draw(picture).rectangle(
        (wide * 0.7, high * 0.88, wide * 0.98, high * 0.97), fill=(255, 255, 255)
    )
    return picture


PICTURES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG quality 30": lambda p: encoded(p, 30),
    "JPEG quality 10": lambda p: encoded(p, 10),
    "half size": lambda p: p.resize((p.width // 2, p.height // 2)),
    "96 pixels wide": lambda p: p.resize((96, 96 * p.height // p.width)),
    "a quarter brighter": lambda p: ImageEnhance.Brightness(p).enhance(1.25),
    "contrast 0.7": lambda p: ImageEnhance.Contrast(p).enhance(0.7),
    "grey": lambda p: p.convert("L").convert("RGB"),
    "a tenth flatter": lambda p: p.resize((p.width, int(p.height * 0.9))),
    "2 % off each side": lambda p: cut(p, 0.02, 0.02, 0.02, 0.02),
    "5 % off each side": lambda p: cut(p, 0.05, 0.05, 0.05, 0.05),
    "5 % off the left": lambda p: cut(p, 0.05, 0, 0, 0),
    "10 % off the top": lambda p: cut(p, 0, 0.1, 0, 0),
    "10 % off two sides": lambda p: cut(p, 0.1, 0.1, 0, 0),
    "0 to 8 % off each side": at_random(0.08),
    "0 to 10 % off each side": at_random(0.10),
    "a label over 2.5 %": marked,
}
VIDEOS: dict[str, list[str]] = {
    "half size, H.264 crf 35": ["-vf", "scale=trunc(iw/4)*2:-2", "-crf", "35"],
    "MPEG-4 part 2": ["-c:v", "mpeg4", "-q:v", "12"],
    "5 % off the width, 7 % off the height": ["-vf", "crop=iw*0.95:ih*0.93"],
    "without its first half second": ["-ss", "0.5"],
}


def thumbnail(picture: Image.Image) -> near.Sheet:
    """As archive/media makes it."""
    small, out = picture.convert("RGB"), io.BytesIO()
    small.thumbnail((320, 320), Image.Resampling.LANCZOS)
    small.save(out, "JPEG", quality=80)
    return near.Sheet(out.getvalue())


def board(video: Path) -> near.Sheet:
    """A video's storyboard."""
    made = storyboard.make(video, probe.probe(video).duration_ms or 0)
    lies = storyboard.Board.of(made.recipe)
    return near.Sheet(made.data or b"", len(lies.at_ms), lies.columns, lies.gap)


def prints(sheets: list[near.Sheet]) -> near.Prints:
    """As those of a case, in the order of the sheets. A sheet that is too plain has none."""
    told: dict[tuple[int, int], bytes] = {}
    for start in range(0, len(sheets), near.TOGETHER):
        some = near.fingerprints(sheets[start : start + near.TOGETHER])
        told |= {(start + number, frame): bits for (number, frame), bits in some.items()}
    words = np.frombuffer(b"".join(told[key] for key in sorted(told)), ">u8").astype(np.uint64)
    owner = np.array([number for number, _ in sorted(told)], dtype=np.int64)
    items = [(None, number, sheet.frames > 1) for number, sheet in enumerate(sheets)]
    return near.Prints(items, owner, words.reshape(-1, len(near.WINDOWS), 4))


def tied(sheets: list[near.Sheet], new: list[int]) -> set[tuple[int, int]]:
    """Pairs of places that are tied."""
    return {(min(pair), max(pair)) for pair in near.ties(prints(sheets), new)}


def measure(
    names: list[str], own: list[near.Sheet], copies: dict[str, list[near.Sheet]], which: list[int]
) -> dict[str, object]:
    """Recall of each alteration, and the ties between different files."""
    began = time.monotonic()
    wrong = tied(own, list(range(len(own))))
    seconds = time.monotonic() - began
    recall = {}
    for name, made in copies.items():
        both = tied([*(own[n] for n in which), *made], list(range(len(which), 2 * len(which))))
        recall[name] = sum((n, len(which) + n) in both for n in range(len(which))) / len(which)
    return {
        "files": len(own),
        "pairs": len(own) * (len(own) - 1) // 2,
        "tied": [f"{names[a]} {names[b]}" for a, b in sorted(wrong)],
        "seconds": round(seconds, 1),
        "copies": len(which),
        "recall": recall,
    }


def pictures(folder: Path, every: int) -> dict[str, object]:
    """Of a folder of photographs."""
    files = sorted(itertools.chain(*(folder.rglob(f"*.{ending}") for ending in ("jpg", "jpeg", "png"))))
    opened = [Image.open(file).convert("RGB") for file in files]
    which = list(range(0, len(files), every))
    copies = {name: [thumbnail(alter(opened[n])) for n in which] for name, alter in PICTURES.items()}
    return measure([file.name for file in files], [thumbnail(one) for one in opened], copies, which)


def videos(folder: Path) -> dict[str, object]:
    """Of a folder of films."""
    files = sorted(itertools.chain(*(folder.rglob(f"*.{ending}") for ending in ("mp4", "mkv"))))
    copies: dict[str, list[near.Sheet]] = {name: [] for name in VIDEOS}
    with tempfile.TemporaryDirectory() as scratch:
        for (name, options), file in itertools.product(VIDEOS.items(), files):
            made = Path(scratch) / "altered.mp4"
            line = ["ffmpeg", "-v", "error", "-y", "-i", str(file), *options, "-an", str(made)]
            subprocess.run(line, check=True)
            copies[name].append(board(made))
    return measure(
        [file.name for file in files], [board(file) for file in files], copies, list(range(len(files)))
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=Path, metavar="DIR")
    parser.add_argument("--videos", type=Path, metavar="DIR")
    parser.add_argument("--every", type=int, default=4, metavar="N", help="every n-th picture is altered (4)")
    parser.add_argument("--json", action="store_true", help="figures for programs")
    asked = parser.parse_args()
    told = {}
    if asked.pictures:
        told["pictures"] = pictures(asked.pictures, asked.every)
    if asked.videos:
        told["videos"] = videos(asked.videos)
    if asked.json:
        print(json.dumps(told, indent=2))
        return
    for kind, found in told.items():
        print(
            f"{kind}: {len(found['tied'])} of {found['pairs']:,} pairs of different files tied ({found['seconds']} s)"
        )
        for pair in found["tied"]:
            print(f"    {pair}")
        for name, share in found["recall"].items():
            print(f"  {name:40} {share:.3f} of {found['copies']}")


if __name__ == "__main__":
    main()
