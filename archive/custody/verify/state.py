"""What a verification that was stopped leaves for `--resume`: the answers to ranges, each under what was read there.

An answer is used again only for a range that has the same content to the last byte, and was asked with the same
checkpoints in it; so a resumed run still reads and hashes every event, and only spares the rest. It trusts this file:
whoever can write to the instance's folder can write `good` into it.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from django.conf import settings

FORM = 1


def path() -> Path:
    """Where the answers are."""
    return settings.DATA_DIR / "verify-state.jsonl"


class State:
    """Answers by task. A task that was asked differently has another key."""

    def __init__(self, *, resume: bool) -> None:
        self.known: dict[str, dict[str, Any]] = {}
        if resume:
            self._read()
        elif path().exists():
            path().unlink()

    def _read(self) -> None:
        try:
            with path().open(encoding="utf-8") as file:
                for line in file:
                    entry = json.loads(line)
                    self.known[entry["task"]] = entry["answer"]
        except (OSError, ValueError, KeyError, TypeError):
            return  # none, or cut off in its last line: what was read is good

    def mark(self, task: dict[str, Any]) -> str:
        """What the earlier answer to this task was read from; empty when there is none."""
        return self.known.get(key(task), {}).get("mark", "")

    def answer(self, task: dict[str, Any]) -> dict[str, Any]:
        """The earlier answer."""
        return self.known[key(task)]

    def keep(self, task: dict[str, Any], answer: dict[str, Any]) -> None:
        """Write an answer down."""
        line = json.dumps({"task": key(task), "answer": answer})
        with path().open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        path().chmod(0o600)

    def done(self) -> None:
        """All is checked: nothing is left to resume."""
        path().unlink(missing_ok=True)


def key(task: dict[str, Any]) -> str:
    """What a task asks, as one value."""
    return hashlib.sha256(json.dumps([FORM, settings.NAME_IN_LOG, task], sort_keys=True).encode()).hexdigest()
