"""Which key signs the log at which size: a change is an event that the old keys sign. docs/custody-log.md, "Keys"."""

import base64
import contextlib
import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from django.conf import settings
from django.db import transaction

from archive.custody.actor import Actor
from archive.custody.log import record, require_entitled
from archive.custody.notes import VerifierKey, decode
from archive.custody.signers import (
    Signer,
    create_key_file,
    load_key,
    log_keys,
    log_signers,
    signers_of_plugin,
    sync_folder,
    verifier_keys,
)
from archive.errors import BadInput, Conflict, KeyUnavailable

EVENT = "system.signing_key_changed"
HEADER = "amparo-signing-key-change/1"
Keys = tuple[VerifierKey, ...]


@dataclass(frozen=True)
class KeyChange:
    """A checkpoint over the event at this position, and every later one, bears the new keys."""

    position: int
    old: Keys
    new: Keys


@dataclass(frozen=True)
class KeyChain:
    """The log's keys from its beginning. `faults` names changes that do not hold, by position (-1: of no event)."""

    first: Keys
    changes: tuple[KeyChange, ...] = ()
    faults: tuple[tuple[int, str], ...] = ()

    def at(self, size: int) -> Keys:
        """All keys that sign a checkpoint of this size."""
        return next((c.new for c in reversed(self.changes) if c.position < size), self.first)

    @property
    def newest(self) -> Keys:
        """The keys in force now."""
        return self.changes[-1].new if self.changes else self.first


def statement(origin: str, old: Keys, new: Keys) -> bytes:
    """What the old keys sign: a header that no checkpoint and no bundle begins with, the log, the keys."""
    lines = [HEADER, origin, *(f"old {key}" for key in old), *(f"new {key}" for key in new)]
    return "".join(f"{line}\n" for line in lines).encode()


def payload(origin: str, signers: tuple[Signer, ...], new: Keys) -> dict[str, Any]:
    """What the event of a change says, signed by the keys in force until now. Raises KeyUnavailable."""
    old = verifier_keys(signers, origin)
    said = statement(origin, old, new)
    return {
        "origin": origin,
        "old": [str(key) for key in old],
        "new": [str(key) for key in new],
        "signatures": [base64.b64encode(signer.sign(said)).decode() for signer in signers],
    }


def read_change(position: int, said: dict[str, Any]) -> KeyChange:
    """Read the payload of a change and check the old keys' signatures. Raises BadInput."""
    try:
        old, new = (tuple(VerifierKey.parse(text) for text in said[side]) for side in ("old", "new"))
        signed = statement(said["origin"], old, new)
        if not old or not new:
            raise BadInput("A change of key names no key.")
        for key, signature in zip(old, said["signatures"], strict=True):
            key.verify_raw(decode(signature), signed)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise BadInput("A change of key is not in the form.") from error
    except InvalidSignature:
        raise BadInput("A change of key is not signed by the old key.") from None
    return KeyChange(position, old, new)


def chain_of(said: Iterable[tuple[int, dict[str, Any]]], trusted: Keys = ()) -> KeyChain:
    """Follow changes (position, payload) in order. A change that does not hold is a fault and is not followed.

    `trusted` are keys known from outside of the log: one of them must be in the chain, which is them alone if there is
    no change.
    """
    changes: list[KeyChange] = []
    faults: list[tuple[int, str]] = []
    for position, content in said:
        try:
            change = read_change(position, content)
        except BadInput as error:
            faults.append((position, error.sentence))
            continue
        if changes and set(change.old) != set(changes[-1].new):
            faults.append((position, "A change of key is signed by another key than the one in force."))
            continue
        changes.append(change)
    start = changes[0].old if changes else trusted
    known = {key for keys in (start, *(c.new for c in changes)) for key in keys}
    if trusted and not known & set(trusted):
        faults.append((-1, "None of the keys that you trust ever signed for this log."))
    return KeyChain(start, tuple(changes), tuple(faults))


def keys_in_force(trusted: Iterable[VerifierKey] = (), *, own: Keys | None = None) -> KeyChain:
    """The keys of this log over time, from its own events and the keys that the reader trusts.

    Without a trusted key this machine's own is taken, and where it cannot be read, what the log itself says: tell the
    reader which. Raises KeyUnavailable when there is neither, nor any change.
    """
    from archive.models import CustodyEvent

    rows = (
        CustodyEvent.objects.filter(subject="system:main", type=EVENT, position__isnull=False)
        .order_by("position__position")
        .values_list("position__position", "canonical")
    )
    said = [(position, json.loads(bytes(body))["payload"]) for position, body in rows]
    known = tuple(trusted) or own or ()
    if not known:
        try:
            known = log_keys()
        except KeyUnavailable:
            if not said:
                raise
    return chain_of(said, known)


# --- changing the key -------------------------------------------------------------------------------------------


def signers_in_force(size: int) -> tuple[Signer, ...]:
    """This machine's signers, if they hold the keys that the log says sign a checkpoint of this size.

    A change that was cut off after its event is brought to its end. Raises KeyUnavailable.
    """
    signers = log_signers()
    own = verifier_keys(signers, settings.NAME_IN_LOG)
    wanted = keys_in_force(own=own).at(size)
    if set(own) != set(wanted) and not settings.SIGNING_KMS:
        with _locked():
            _settle(keys_in_force(own=own).newest)
        signers = log_signers()
        own = verifier_keys(signers, settings.NAME_IN_LOG)
    if set(own) != set(wanted):
        raise KeyUnavailable(
            f"The log says that {' and '.join(k.label for k in wanted)} signs it, but the signing key here is "
            f"{' and '.join(k.label for k in own)}. Nothing was signed: put the right key back (SIGNING_KEY_FILE, "
            "SIGNING_KMS). Right after a change of key, try again in a few seconds."
        )
    return signers


def new_key(*, actor: Actor, plugin: str = "", reason: str = "") -> KeyChange:
    """Change the log's keys: the old ones sign for the new ones in an event, then the new ones take their place.

    New keys are made in files beside the old ones, which are kept under the name `<file>.<key id>`; or they come from
    the plug-in at a dotted path, which SIGNING_KMS then has to name. Killed at any moment, either the old or the new
    key is in force and is there. Raises NotAllowed, KeyUnavailable, Conflict; then the old key stays.
    """
    from archive.custody.sequence import sequence
    from archive.models import CustodyPosition

    require_entitled(EVENT, actor)
    sequence()
    with _locked():
        own = log_keys()
        newest = keys_in_force(own=own).newest
        _settle(newest)
        signers = log_signers()
        if set(verifier_keys(signers, settings.NAME_IN_LOG)) != set(newest):
            raise KeyUnavailable(
                "The signing key here is not the one that the log names, so it cannot sign for a new one. "
                "Nothing changed: put the right key back."
            )
        if plugin:
            new = verifier_keys(signers_of_plugin(plugin), settings.NAME_IN_LOG)
        else:
            new = _make_next()
        if set(new) & set(newest):
            raise Conflict("The new key is the one in force. Nothing changed.")
        said = payload(settings.NAME_IN_LOG, signers, new)
        with transaction.atomic(durable=True):
            event = record("system:main", event=EVENT, actor=actor, payload=said, reason=reason)
        if not plugin:
            _settle(new)
    sequence()
    position = CustodyPosition.objects.get(event=event).position
    return KeyChange(position, newest, new)


def _files() -> tuple[Path, Path]:
    return settings.SIGNING_KEY_FILE, settings.SIGNING_ML_DSA_KEY_FILE


def _next(path: Path) -> Path:
    return path.with_name(f"{path.name}.next")


def _make_next() -> Keys:
    first, second = _files()
    create_key_file(_next(first))
    create_key_file(_next(second), "ml-dsa-44")
    return tuple(_key_in(_next(path)) for path in (first, second))


def _key_in(path: Path) -> VerifierKey:
    from archive.custody.signers import LocalSigner

    (key,) = verifier_keys((LocalSigner(load_key(path)),), settings.NAME_IN_LOG)  # type: ignore[arg-type]
    return key


def _settle(newest: Keys) -> None:
    """Put keys in place that the log names already; drop those of a change that was never recorded."""
    for path in _files():
        coming = _next(path)
        if not coming.exists():
            continue
        if _key_in(coming) not in newest:
            coming.unlink()
            continue
        if path.exists():
            with contextlib.suppress(FileExistsError):  # a change that was cut off after this line
                os.link(path, path.with_name(f"{path.name}.{_key_in(path).id.hex()}"))
        os.replace(coming, path)
        sync_folder(path.parent)


@contextlib.contextmanager
def _locked() -> Iterator[None]:
    """One change of key at a time on this machine. Raises Conflict."""
    folder = settings.SIGNING_KEY_FILE.parent
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise KeyUnavailable(
            f"The folder of the signing key cannot be opened ({error.strerror}): {folder}"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise Conflict(
            "The signing key is being changed at this moment: try again in a few seconds."
        ) from error
    finally:
        os.close(descriptor)
