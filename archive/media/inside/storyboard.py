"""Runs inside the sandbox: one JPEG of frames spread over the film at /in/original. Of ours it imports examine.py alone.

Each frame is sought and decoded by itself, so that an hour costs no more than a minute, and one that cannot be had
takes no other with it. Says when each frame is, as examine.py says things. Our side believes none of it.
"""

from __future__ import annotations

import io
import os
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, "/in")

from examine import ASKED, Tool, complaints, guarded, tell  # noqa: E402
from PIL import Image  # noqa: E402

END = time.monotonic() + ASKED["all_s"]
GROUND = (27, 31, 35)
SHOWN = re.compile(r"^\[Parsed_showinfo_\d+ @ \w+\] n: *0 .*?pts_time:(-?[0-9.]+)", re.MULTILINE)
# The frame itself, which takes decoding from the key frame before it; where that takes too long, the key frame.
WAYS: tuple[list[str], ...] = ([], ["-skip_frame", "nokey", "-noaccurate_seek"])
failed: list[str] = []


def frame(at_ms: int) -> tuple[int, Image.Image] | None:
    """The picture at this time, upright and small, and when it really is; None where there is none."""
    path, side = f"/tmp/frame-{at_ms}.bmp", ASKED["side"]
    scale = f"scale='min({side},iw)':'min({side},ih)':force_original_aspect_ratio=decrease"
    seek = ["-ss", f"{at_ms / 1000:.3f}"] if at_ms else []
    for way in WAYS:
        left = min(ASKED["frame_s"], END - time.monotonic())
        if left <= 0:
            return None
        argv = ["/usr/bin/ffmpeg", "-nostdin", "-hide_banner", "-threads", "1", "-filter_threads", "1",
                *guarded(*way, *seek), "-map", "0:V:0", "-an", "-sn", "-dn", "-frames:v", "1",
                "-vsync", "passthrough", "-vf", f"showinfo,{scale},format=rgb24", "-c:v", "bmp", path]  # fmt: skip
        _, _, said = Tool(argv, bound=1024, seconds=left).wait()
        shown = SHOWN.search(said)
        if shown and os.path.exists(path):
            with Image.open(path, formats=["BMP"]) as picture:
                return max(0, at_ms + round(float(shown[1]) * 1000)), picture.convert("RGB")
        failed.extend(complaints(said)[-1:])
    return None


def main() -> None:
    with ThreadPoolExecutor(2) as pool:
        found = dict(filter(None, pool.map(frame, ASKED["at_ms"])))
    if not found and (first := frame(0)):  # a stream that cannot be sought in
        found = dict([first])
    if not found:
        tell("no_frame", failed[-1] if failed else "")
        return
    frames = [picture for _, picture in sorted(found.items(), key=lambda pair: pair[0])]
    columns, gap = min(ASKED["columns"], len(frames)), ASKED["gap"]
    rows = -(-len(frames) // columns)
    width, height = (max(sides) for sides in zip(*(picture.size for picture in frames), strict=True))
    sheet = Image.new("RGB", (columns * (width + gap) - gap, rows * (height + gap) - gap), GROUND)
    for number, picture in enumerate(frames):
        row, column = divmod(number, columns)
        left = column * (width + gap) + (width - picture.width) // 2
        sheet.paste(picture, (left, row * (height + gap) + (height - picture.height) // 2))
    out = io.BytesIO()
    sheet.save(out, "JPEG", quality=ASKED["quality"])
    tell("storyboard", {"at_ms": sorted(found), "columns": columns}, out.getvalue())


main()
