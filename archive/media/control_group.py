"""Hold root's sandboxes to a number of processes: the kernel's RLIMIT_NPROC does not count what belongs to root."""

import contextlib
import functools
import os
import time
import uuid
from pathlib import Path

TREE = Path("/sys/fs/cgroup")
_SWEEP_S = 60


def make(processes: int) -> Path | None:
    """A new control group for at most so many processes and threads; None where none is needed or can be had.

    A program joins by writing its number into `cgroup.procs`, within a minute. Give the group back with `remove`; groups
    that were not are removed by a later call.
    """
    parent = _parent()
    if parent is None:
        return None
    _sweep(parent)
    group = parent / f"amparo-{uuid.uuid4().hex}"
    try:
        group.mkdir()
        (group / "pids.max").write_text(f"{processes}\n")
    except OSError:  # read-only here, as in most containers: the tree is counted from outside alone
        return None
    return group


def remove(group: Path) -> None:
    """Give an empty group back. One whose processes are still dying is left to a later `make`."""
    with contextlib.suppress(OSError):
        group.rmdir()


@functools.cache
def _parent() -> Path | None:
    """Where groups that count processes can be made, if we are root: cgroup v1, or v2 below the first that passes it on."""
    if os.geteuid() != 0:
        return None
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, own = line.split(":", 2)
        if "pids" in controllers.split(","):
            folder = TREE / "pids" / own.lstrip("/")
            return folder if os.access(folder, os.W_OK) else None
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        if line.startswith("0::"):
            folder = TREE / line[3:].strip("/")
            for at in (folder, *folder.parents):
                passed_on = at / "cgroup.subtree_control"
                if passed_on.is_file() and "pids" in passed_on.read_text().split() and os.access(at, os.W_OK):
                    return at
    return None


def _sweep(parent: Path) -> None:
    for group in parent.glob("amparo-*"):
        with contextlib.suppress(OSError):  # in use, or just removed by another process
            if group.stat().st_mtime < time.time() - _SWEEP_S:
                group.rmdir()
