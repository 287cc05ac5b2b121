"""The second copy: the same files under the same names in another place, still encrypted.

Point VAULT_DIR at such a folder and it opens: it is a vault. docs/vault.md, part 7, says the steps.
"""

from archive.errors import Conflict, Damaged, Missing
from archive.vault.cobblestone import SALT, Unauthentic
from archive.vault.intake import Progress, silent
from archive.vault.sealed import Rotated, key_name_of
from archive.vault.storage import Place
from archive.vault.store import CONFIG, Vault


class SecondCopy:
    """One vault's files in a second place. Every verb may raise Unreachable: then nothing is known of that place."""

    def __init__(self, held: Vault, place: Place) -> None:
        self.held, self.place, self.where = held, place, place.where
        self.vault = held.twin(place)

    def prepare(self) -> None:
        """Make an empty place ready. Raises Conflict where the copy of another vault lies."""
        self.place.prepare()
        try:
            self.place.read_small(CONFIG)
        except FileNotFoundError:
            self.place.replace_small(CONFIG, self.held.storage.read_small(CONFIG))
        self.require()

    def require(self) -> None:
        """Raises Unreachable where the place is not connected or never set up, Conflict where it is another's."""
        if self.vault.identity() != self.held.identity():
            raise Conflict(
                f"{self.where} holds the copy of another vault. Nothing there was changed: name an empty place "
                "in AMPARO_SECOND_COPY."
            )

    def bring(self, sha256: str, *, progress: Progress = silent) -> bool:
        """See to it that a good copy of this blob lies here; False where one did already.

        It is read back before this returns. Raises Missing and Damaged where the vault's own bytes are not good;
        then a copy that was here is as it was.
        """
        self.require()
        try:
            self.vault.check(sha256, progress=progress)
            return False
        except Missing:
            pass
        except Damaged:
            self.held.check(sha256)  # only what is known to be good replaces a file here
        name = self.held.name_of(sha256)
        key_name, key = _key_of(self.held, name)
        self.place.replace_small(key_name, key)
        _copy(self.held.storage, self.place, name, progress)
        if (now := self.held.storage.read_small(key_name)) != key:
            self.place.replace_small(key_name, now)  # rotated meanwhile, and past here before the name was
        self.vault.check(sha256, progress=progress)
        return True

    def give_back(self, sha256: str, *, progress: Progress = silent) -> None:
        """Write this blob, which was checked here, into the vault, and read it back there.

        Nothing may lie in its place: quarantine first. Raises Missing, Damaged, StorageFull.
        """
        name = self.held.name_of(sha256)
        key_name, key = _key_of(self.vault, name)
        storage = self.held.storage
        try:
            self.held.key_of(key_name)
        except (Unauthentic, Damaged):
            storage.set_aside(key_name, storage.free_aside(key_name))
            storage.create_small(key_name, key)
        _copy(self.place, storage, name, progress)
        self.held.check(sha256, progress=progress)

    def same_seal(self, sha256: str) -> bool:
        """Whether vault and copy hold the same sealed bytes, by their salts: taken in anew, a file gets another."""
        name = self.held.name_of(sha256)
        try:
            return _salt(self.held.storage, name) == _salt(self.place, name)
        except FileNotFoundError:
            return False

    def rotate(self, *, progress: Progress = silent) -> Rotated:
        """See Vault.rotate. After the vault's own, so that what is copied meanwhile is under the new key too."""
        self.require()
        return self.vault.rotate(progress=progress)


def _key_of(held: Vault, name: str) -> tuple[str, bytes]:
    """Name and content of the small file with this blob's wrapped key. Raises Missing, Damaged."""
    try:
        key_name = key_name_of(name, _salt(held.storage, name))
        return key_name, held.storage.read_small(key_name)
    except FileNotFoundError:
        raise Missing(f"The vault holds no blob {name}, or not its key. Nothing was changed.") from None


def _salt(place: Place, name: str) -> bytes:
    salt = bytearray(SALT)
    source = place.open(name)
    try:
        source.read_into(0, memoryview(salt))
    finally:
        source.close()
    return bytes(salt)


def _copy(origin: Place, target: Place, name: str, progress: Progress) -> None:
    try:
        source = origin.open(name)
    except FileNotFoundError:
        raise Missing(f"The vault holds no blob {name}. Nothing was changed.") from None
    try:
        target.write(name, source, progress=progress)
    finally:
        source.close()
