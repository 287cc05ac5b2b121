"""What tests of bundles share: quick pages, the verifier away from the project, how to read a bag."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from evidence import bundle


def blank(self, printed: dict[str, str]) -> list[Path]:
    """Files in the place of those that were printed, which takes seconds."""
    for name in printed:
        (self.folder / name).write_bytes(b"%PDF-1.4\n%%EOF\n")
    return [self.folder / name for name in printed]


def check(made: Path, tmp_path: Path, *arguments: str) -> tuple[int, str]:
    """Run the verifier that lies in the project, copied away from it, in Python's isolated mode."""
    away = tmp_path / "away"
    away.mkdir(exist_ok=True)
    copy = shutil.copy(bundle.VERIFIER, away)
    command = [sys.executable, "-I", copy, str(made), "--key", bundle.fingerprint(), *arguments]
    done = subprocess.run(command, cwd=away, capture_output=True, text=True, env={"PATH": "/nowhere"})
    return done.returncode, done.stdout + done.stderr


def rows(folder: Path, name: str) -> list[dict]:
    """A JSON list of a bag."""
    return json.loads((folder / "data" / f"{name}.json").read_text())


def statement(folder: Path) -> dict:
    """What is signed."""
    return json.loads((folder / "signature" / "statement.json").read_text())
