"""The product as people run it: web, workers, sandbox and vault as real processes on a folder of their own."""

import importlib.util
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from tests.running import ROOT, Run

UPLOAD_LIMIT = 64 * 1024**2
NO_DEMO = "met"  # ./run greets an instance once; one that has this file has been greeted
SHARED = ROOT.parent / "shared"


def folder_from(variable: str, name: str) -> Path | None:
    """The folder that the environment names, or the one that lies beside the project; None where there is none."""
    wanted = os.environ.get(variable)
    found = Path(wanted) if wanted else SHARED / name
    return found if found.is_dir() else None


class Product:
    """One instance and its processes. `more` is environment for them."""

    def __init__(self, data: Path, **more: str) -> None:
        data.mkdir(mode=0o700, parents=True)
        (data / NO_DEMO).touch()
        self.data = data
        self.more = {"AMPARO_UPLOAD_LIMIT": str(UPLOAD_LIMIT), **more}
        if mirror := folder_from("MODEL_MIRROR", "models"):
            self.more["MODEL_MIRROR"] = str(mirror)
        self.has_weights = mirror is not None
        self.run = Run(data, **self.more)
        self.url = f"http://127.0.0.1:{self.run.port()}"

    def ready(self) -> "Product":
        """Wait for web and workers; install the weights where there are any."""
        self.run.says("Web, workers and database work")
        if self.has_weights:
            self.manage("models", "pull")
        return self

    @property
    def env(self) -> dict[str, str]:
        return {**os.environ, **self.more, "AMPARO_DATA": str(self.data)}

    def manage(self, *arguments: str) -> str:
        """A command of the product on this instance; what it printed."""
        return self._python("manage.py", *arguments)

    def stock(self, *what: str) -> dict:
        """Let tests/browser/stock.py put people and cases in; what it says about them."""
        return json.loads(self._python("-m", "tests.browser.stock", *what))

    def _python(self, *arguments: str) -> str:
        command = [sys.executable, *arguments]
        ended = subprocess.run(command, cwd=ROOT, env=self.env, capture_output=True, text=True)
        assert ended.returncode == 0, f"{arguments}: {ended.stdout}{ended.stderr}"
        return ended.stdout

    def sql(self, statement: str, *values: object) -> list[tuple]:
        """Look into the database past everything."""
        database = sqlite3.connect(self.data / "db.sqlite3", timeout=30)
        try:
            return database.execute(statement, values).fetchall()
        finally:
            database.close()

    def events(self, subject: str, event: str) -> int:
        """How many events of this type a subject's chain holds."""
        return self.sql(
            "SELECT count(*) FROM archive_custodyevent WHERE subject = ? AND type = ?", subject, event
        )[0][0]

    def settled(self, limit_s: int = 540) -> None:
        """Wait until the workers have nothing left to do. A job that failed is told at once."""
        end = time.monotonic() + limit_s
        while self.sql("SELECT count(*) FROM archive_job WHERE state IN ('queued', 'running')") != [(0,)]:
            assert time.monotonic() < end, self.sql("SELECT name, state, error FROM archive_job")
            time.sleep(0.25)

    def stop(self) -> None:
        if self.run.process.poll() is None:
            assert self.run.stop() == 0, self.run.words.read_text()
        shutil.rmtree(self.data, ignore_errors=True)


# --- real files ---------------------------------------------------------------------------------------------------


def photographs() -> list[Path]:
    """The two photographs that come inside the ultralytics package."""
    package = Path(importlib.util.find_spec("ultralytics").origin).parent
    return [package / "assets" / "bus.jpg", package / "assets" / "zidane.jpg"]


LONG = {"one-by-one-person-detection.mp4"}  # takes as long as all the others together


def material(folder: Path) -> Path:
    """A folder of real photographs and videos, with two files in it that are not what they say."""
    folder.mkdir(parents=True)
    shared = folder_from("TEST_MEDIA", "media")
    found = (
        [p for p in sorted(shared.iterdir()) if p.suffix != ".md" and p.name not in LONG]
        if shared
        else photographs()
    )
    for path in found:
        shutil.copyfile(path, folder / path.name)
    if not shared:
        video(folder / "street.mp4", photographs(), seconds=12)
    dishonest(folder)
    return folder


def dishonest(folder: Path) -> None:
    """A text file that calls itself a photograph, and a photograph that breaks off."""
    (folder / "statement.jpg").write_text("This is a text and not a photograph.\n" * 40)
    (folder / "broken.jpg").write_bytes(photographs()[1].read_bytes()[:2000])


def video(path: Path, pictures: list[Path], *, seconds: int) -> None:
    """A video that stays on each picture for an equal part of the time."""
    command = ["ffmpeg", "-v", "error", "-y"]
    each = seconds / len(pictures)
    for picture in pictures:
        command += ["-loop", "1", "-framerate", "10", "-t", str(each), "-i", str(picture)]
    fit = "scale=640:360:force_original_aspect_ratio=decrease,pad=640:360:-1:-1,setsar=1"
    chain = "".join(f"[{n}]{fit}[v{n}];" for n in range(len(pictures)))
    chain += "".join(f"[v{n}]" for n in range(len(pictures))) + f"concat=n={len(pictures)}[v]"
    command += [
        "-filter_complex",
        chain,
        "-map",
        "[v]",
        "-pix_fmt",
        "yuv420p",
        "-movflags",
        "+faststart",
        str(path),
    ]
    subprocess.run(command, check=True)


def seconds_of(words: str) -> float:
    """The length that a clock on screen says, 1:02 or 1:02:03."""
    total = 0.0
    for part in re.findall(r"\d+", words):
        total = total * 60 + int(part)
    return total
