"""A process that checks ranges of the log for `custody verify`: a task a line from stdin, an answer a line to stdout.

Started by pool.py, once Django is set up, with the connection of the process that verifies, so that both read the same state.
"""

import gc
import json
import sys
from typing import Any


def main() -> None:
    """Serve until stdin ends."""
    greeting = json.loads(sys.stdin.readline())
    from django.db import DEFAULT_DB_ALIAS, connections

    from archive.custody.verify.reader import Reader, one_moment

    connections[DEFAULT_DB_ALIAS].settings_dict.update(greeting["database"])
    _tell({"ready": 1})
    snapshot = json.loads(sys.stdin.readline())["snapshot"]
    gc.freeze()
    gc.disable()  # rows and events have no cycles, and looking for some costs a tenth of the time
    with one_moment(snapshot):
        reader = Reader()
        reader.one("SELECT COUNT(*) FROM archive_checkpoint")  # from here on SQLite shows this one state
        _tell({"ready": 2})
        for line in sys.stdin:
            _tell(work(reader, json.loads(line)))


def work(reader: Any, task: dict[str, Any]) -> dict[str, Any]:
    """Do one task: the tips of chains, a range of the log, or the openings of a range."""
    from archive.custody.verify.events import check_range
    from archive.custody.verify.openings import check_openings
    from archive.custody.verify.times import Span
    from archive.custody.verify.tips import check_tips

    if task["what"] == "openings":
        return check_openings(reader, task["start"], task["end"], task["labels"])
    if task["what"] == "tips":
        return check_tips(reader)
    return check_range(
        reader,
        task["start"],
        task["end"],
        sizes=task["sizes"],
        spans=[Span(*span) for span in task["spans"]],
        integrated=task["integrated"],
        tolerance_s=task["tolerance_s"],
        mark=task.get("mark", ""),
    )


def _tell(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
