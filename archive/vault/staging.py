"""Parts of files that are still on their way in: sealed like blobs, named by chance, removed when done with."""

import io
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO

from archive.vault.intake import silent
from archive.vault.keys import Random, Ring
from archive.vault.reader import VaultReader
from archive.vault.sealed import Sealed, Stored
from archive.vault.storage import Folder

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class Staging(Sealed):
    """Uploads in parts. What is confirmed here survives a crash; it becomes a blob by `vault.put(staging.join(...))`.

    A part is nobody's evidence yet, so it can be removed: after COMMIT of the row that names the whole blob.
    """

    context = b"amparo vault part v1"

    def __init__(self, folder: Folder, ring: Ring, *, random: Random = os.urandom) -> None:
        super().__init__(folder, ring, random=random)
        self._folder = folder
        folder.prepare()

    def put(self, stream: BinaryIO, *, limit: int | None = None) -> Stored:
        """Store one part; durable when it returns. Raises LimitExceeded, StorageFull, KeyUnavailable."""
        return self._seal(stream, lambda _: self._random(32).hex(), False, None, None, limit, silent)

    def open(self, name: str) -> VaultReader:
        """One part, seekable. Raises Missing, Damaged, KeyUnavailable."""
        return self._open_name(name)

    def join(self, names: Sequence[str]) -> "Joined":
        """Parts as one stream, in the order given. Opened one after the other; raises as `open` does."""
        return Joined(self, names)

    def remove(self, name: str) -> None:
        """Remove a part and its key. Harmless where it is gone."""
        self._folder.remove(name)

    def _renew(self, name: str) -> bool:
        try:
            return super()._renew(name)
        except FileNotFoundError:
            return False  # its upload was finished meanwhile


class Joined(io.RawIOBase):
    """Several parts read as one stream, from front to back."""

    def __init__(self, staging: Staging, names: Sequence[str]) -> None:
        self._staging, self._names = staging, iter(names)
        self._part: VaultReader | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Fill `buffer` up to the end of the part at hand; 0 only after the last one."""
        while True:
            if self._part is None:
                name = next(self._names, None)
                if name is None:
                    return 0
                self._part = self._staging.open(name)
            count = self._part.readinto(buffer)
            if count:
                return count
            self._part.close()
            self._part = None

    def close(self) -> None:
        if self._part:
            self._part.close()
        super().close()
