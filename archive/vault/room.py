"""Room on the disks: a reserve that intake never touches, so that log, database and repairs can go on."""

import errno
import os
from collections.abc import Iterable
from pathlib import Path

from archive.errors import StorageFull

RESERVE = 1024**3
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Room:
    """Keeps `reserve` bytes free on each disk that matters; None keeps 1 GiB, or 1 % of a smaller disk.

    `beside` names other places whose disks must keep their reserve too, such as the database's.
    """

    def __init__(self, reserve: int | None = None, beside: Iterable[Path] = ()) -> None:
        self.reserve, self.beside = reserve, tuple(beside)

    def require(self, place: Path, needed: int = 0) -> None:
        """Raises StorageFull where `needed` more bytes in `place` would leave less than the reserve."""
        for path, more in ((place, needed), *((path, 0) for path in self.beside)):
            disk = os.statvfs(path)
            free, total = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
            kept = min(RESERVE, total // 100) if self.reserve is None else self.reserve
            if free - more < kept:
                raise StorageFull(
                    f"The disk of {path} has {free:,} bytes free; {more:,} are needed and {kept:,} stay in reserve "
                    "(AMPARO_RESERVE). So nothing of this was kept; what was stored before is untouched. Make room "
                    "on that disk, then try again."
                )
