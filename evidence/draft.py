"""Where a bundle lies while it is written at the shell: `.NAME.<id>.partial` beside its destination.

    journal    first line: which bundle. Then a line for each file that is durable already
    whole      the bag, the packed file, or the folder of volumes, as it will stand under its name

Whoever writes holds a lock on the journal: what no living process writes was left by one that was killed.
"""

import fcntl
import json
import os
import shutil
import threading
from pathlib import Path
from types import TracebackType
from uuid import UUID

from archive.errors import BadInput, Conflict
from evidence import bag
from evidence.models import Bundle

JOURNAL, WHOLE = "journal", "whole"


class Draft:
    """A bundle on its way to `out`. The lock ends with the process, or with `close`."""

    def __init__(self, out: Path, folder: Path) -> None:
        self.out, self.folder, self.whole = out, folder, folder / WHOLE
        self._lock = threading.Lock()
        self._journal = (folder / JOURNAL).open("a+b", buffering=0)
        try:
            fcntl.flock(self._journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._journal.close()
            raise Conflict(
                f"Another process is writing to {out} now. Wait for it, or name another path."
            ) from error

    def __enter__(self) -> "Draft":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._journal.close()

    @classmethod
    def begin(cls, out: Path, bundle: Bundle) -> "Draft":
        """Start one for a new bundle."""
        folder = out.parent / f".{out.name}.{str(bundle.pk)[:8]}.partial"
        folder.mkdir(mode=0o700)
        try:
            draft = cls(out, folder)
            draft._note({"bundle": str(bundle.pk)})
            bag.sync(folder)
            bag.sync(folder.parent)
        except BaseException:
            shutil.rmtree(folder)
            raise
        return draft

    @classmethod
    def left(cls, out: Path) -> "list[Draft]":
        """Those that killed processes left for this destination. Raises Conflict where one is being written."""
        pattern = f".{_literal(out.name)}.{'[0-9a-f]' * 8}.partial"
        return [cls(out, folder) for folder in sorted(out.parent.glob(pattern)) if folder.is_dir()]

    def bundle(self) -> UUID | None:
        """Which bundle it holds; None where the process was killed before it could say."""
        for line in self._lines():
            if "bundle" in line:
                return UUID(line["bundle"])
        return None

    def known(self, volume: int) -> dict[str, bag.Digests]:
        """The files of a volume that are durable already, by path."""
        return {
            line["path"]: bag.Digests(line["sha256"], line["sha512"], line["size"])
            for line in self._lines()
            if line.get("volume") == volume
        }

    def written(self, volume: int, entry: bag.Entry) -> None:
        """Note an original or redaction that is durable. The rest is made anew by the next attempt."""
        if entry.path.startswith(("data/originals/", "data/redacted/")) and entry.digests:
            self._note({"volume": volume, "path": entry.path, **vars(entry.digests)})

    def clear(self, bag_folder: Path, known: dict[str, bag.Digests]) -> dict[str, bag.Digests]:
        """Remove from a volume's folder what is not known to be whole; return what is."""
        good = {
            path: digests
            for path, digests in known.items()
            if (bag_folder / path).is_file() and (bag_folder / path).stat().st_size == digests.size
        }
        for folder, _, names in os.walk(bag_folder):
            for name in names:
                file = Path(folder, name)
                if str(file.relative_to(bag_folder)) not in good:
                    file.unlink()
        return good

    def publish(self) -> None:
        """Let the bundle appear under its name. Raises BadInput where something lies there by now."""
        if self.whole.exists():  # else an earlier attempt came as far as this
            if os.path.lexists(self.out):
                raise BadInput(
                    f"{self.out} has come into being meanwhile. Nothing was written there: name another path."
                )
            self.whole.rename(self.out)
            bag.sync(self.out.parent)
        self.discard()

    def discard(self) -> None:
        """Remove all of it."""
        self._journal.close()
        shutil.rmtree(self.folder)

    def _note(self, line: dict) -> None:
        with self._lock:
            self._journal.write(json.dumps(line).encode() + b"\n")

    def _lines(self) -> list[dict]:
        self._journal.seek(0)
        whole, _, _ = self._journal.read().rpartition(b"\n")  # the last line may have been cut off
        return [json.loads(line) for line in whole.splitlines()]


def _literal(name: str) -> str:
    """A name as a glob pattern that matches nothing else."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)
