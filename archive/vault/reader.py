"""Reading a stored blob from any place."""

import io
from typing import TYPE_CHECKING

from archive.errors import Damaged
from archive.vault.cobblestone import CHUNK, HEADER, SEALED, Message, Unauthentic, sealed_size
from archive.vault.storage import Source

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

WINDOW = 64  # chunks opened at most in one go: 1 MiB
_AHEAD = 16  # chunks opened at least when a reader goes on where it stopped


class VaultReader(io.RawIOBase):
    """Decrypted bytes of one blob, from any place; only the chunks that a read touches are decrypted.

    Every byte given out was authenticated, as was the length before the first one. One thread at a time.
    """

    def __init__(self, source: Source, message: Message, *, name: str, size: int) -> None:
        self.size, self.vault_name = size, name
        self._source, self._message = source, message
        self._at = 0
        self._plain, self._sealed = bytearray(CHUNK), bytearray(SEALED)
        self._first, self._held = 0, 0  # the bytes of _plain: where they begin, and how many they are

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        self._must_be_open()
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._must_be_open()
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        if base + offset < 0:
            raise ValueError(f"cannot seek to byte {base + offset}")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Fill `buffer` from here; fewer bytes only at the end. Raises Damaged and then counts nothing."""
        self._must_be_open()
        out = memoryview(buffer).cast("B")
        wanted = min(len(out), max(0, self.size - self._at))
        done = 0
        while done < wanted:
            here = self._at + done
            if not self._first <= here < self._first + self._held:
                chunks = (here + wanted - done - 1) // CHUNK - here // CHUNK + 1
                goes_on = here == self._first + self._held
                try:
                    self._load(here // CHUNK, min(max(chunks, _AHEAD if goes_on else 1), WINDOW))
                except Unauthentic as error:
                    raise damaged(self.vault_name, error) from error
            start = here - self._first
            count = min(wanted - done, self._held - start)
            out[done : done + count] = memoryview(self._plain)[start : start + count]
            done += count
        self._at += done
        return done

    def readall(self) -> bytes:
        """All bytes from here to the end."""
        return self.read(max(0, self.size - self._at)) or b""

    def close(self) -> None:
        if not self.closed:
            self._source.close()
        super().close()

    def _must_be_open(self) -> None:
        if self.closed:
            raise ValueError("this reader is closed")

    def _load(self, first: int, count: int) -> None:
        """Open `count` chunks from `first` on, or those up to the end."""
        count = min(count, self.size // CHUNK + 1 - first)
        if len(self._plain) < count * CHUNK:
            self._plain, self._sealed = bytearray(WINDOW * CHUNK), bytearray(WINDOW * SEALED)
        self._first = self._held = 0
        start = HEADER + first * SEALED
        end = min(start + count * SEALED, sealed_size(self.size))
        sealed = memoryview(self._sealed)[: end - start]
        if self._source.read_into(start, sealed) != len(sealed):
            raise Unauthentic("it was cut short while it was read")
        self._held = self._message.open_into(first, sealed, memoryview(self._plain))
        self._first = first * CHUNK


def damaged(name: str, what: object) -> Damaged:
    """What to tell whoever wanted this blob."""
    return Damaged(
        f"Blob {name} in the vault is damaged: {what}. Nothing else was touched, and nothing was deleted. "
        "Run: vault restore. Without a second copy take the same file in again, or put it and the .key file beside it "
        "back from a backup."
    )
