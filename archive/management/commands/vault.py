"""manage.py vault check | orphans | rotate"""

import sys
from argparse import ArgumentParser
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction

from archive import cases, custody, vault
from archive.custody import Actor
from archive.errors import BadInput, Damaged, KeyUnavailable, Missing
from archive.management.base import Command as Base
from archive.vault.keys import LocalKey, read_new_key


class Command(Base):
    """The vault from the shell."""

    help = "Check what the vault holds, list what no row names, or change the key that everything is under."

    def add_arguments(self, parser: ArgumentParser) -> None:
        acts = parser.add_subparsers(dest="act", required=True)
        check = acts.add_parser(
            "check",
            help="exit 0 good, 1 bad, 3 could not check everything; names every fault, deletes nothing",
        )
        check.add_argument(
            "--all",
            action="store_true",
            help="read every byte back and hash it, also of blobs that no row names",
        )
        acts.add_parser("orphans", help="list blobs that no row names; they are left where they are")
        rotate = acts.add_parser("rotate", help="wrap all keys anew under another key; no blob is touched")
        rotate.add_argument(
            "--new-key-file",
            type=Path,
            metavar="FILE",
            help="a key file made by `vault new-key`; without it, everything goes under the current key",
        )
        new_key = acts.add_parser("new-key", help="make a new key in a new file that only you can read")
        new_key.add_argument("file", type=Path)

    def work(self, *, act: str, **options: Any) -> None:
        {
            "check": self._check,
            "orphans": self._orphans,
            "rotate": self._rotate,
            "new-key": self._new_key,
        }[act](**options)

    def _check(self, *, all: bool, **_: Any) -> None:
        from archive.models import Blob

        held = vault.default_vault()
        act = "read back" if all else "opened"
        counts = {"good": 0, "bad": 0, "could not check": 0}
        rows = Blob.objects.order_by("sha256").values_list("sha256", "size")
        total = rows.count()
        known = set()

        def look(what: str, verb: Callable[[], object]) -> None:
            try:
                verb()
                counts["good"] += 1
            except (Damaged, Missing) as error:
                counts["bad"] += 1
                self.stdout.write(f"BAD  {what}: {error.sentence}")
            except (KeyUnavailable, OSError) as error:
                counts["could not check"] += 1
                self.stdout.write(f"COULD NOT CHECK  {what}: {error}")

        for number, (sha256, size) in enumerate(rows.iterator(), 1):
            known.add(held.name_of(sha256))
            look(sha256, partial(self._look_at, held, sha256, size, all))
            self._tell(f"{number:,} of {total:,} {act}")
        others = [name for name in held.names() if name not in known]
        for name in others if all else ():
            look(name, partial(held.check_name, name))
        self._tell("")
        self.stdout.write(
            f"{counts['good']:,} {act} and good, {counts['bad']:,} bad, "
            f"{counts['could not check']:,} could not be checked; "
            f"{len(others):,} blobs on disk that no row names."
        )
        answer = "bad" if counts["bad"] else "could not check" if counts["could not check"] else "good"
        self.stdout.write(f"Answer: {answer}.")
        if answer != "good":
            sys.exit({"bad": 1, "could not check": 3}[answer])

    def _look_at(self, held: vault.Vault, sha256: str, size: int, whole: bool) -> None:
        with held.open(sha256) as reader:
            if reader.size != size:
                raise Damaged(
                    f"The vault holds {reader.size} bytes, the row says {size}. Nothing was changed."
                )
        if whole:
            held.check(sha256)

    def _orphans(self, **_: Any) -> None:
        from archive.models import Blob

        count = 0
        for name in vault.orphans(Blob.objects.values_list("sha256", flat=True).iterator()):
            self.stdout.write(name)
            count += 1
        self.stderr.write(
            f"{count:,} blobs that no row names. A file that is just being taken in is one of them."
        )

    def _new_key(self, *, file: Path, **_: Any) -> None:
        self.stdout.write(f"{vault.create_key_file(file)} is in {file}. Keep a copy of it in another place.")

    def _rotate(self, *, new_key_file: Path | None, **_: Any) -> None:
        ring = vault.default_ring()
        before = ring.keys()[0].key_id
        if new_key_file:
            if not isinstance(ring, vault.FileRing):
                raise BadInput(
                    "The vault's key does not come from a file here. Nothing changed. Put the new key first "
                    "in VAULT_KEY (or make it the plug-in's first), keep the old one after it, restart, and "
                    "run: vault rotate"
                )
            secret = read_new_key(new_key_file)
            self.stdout.write(f"{LocalKey(secret).key_id} becomes current in {settings.VAULT_KEY_FILE}.")
            ring.make_current(secret)
        renewed = 0
        while passed := vault.rotate(progress=self._progress).renewed:
            renewed += passed  # again, until nothing came in meanwhile under the earlier key
        renewed += cases.rewrap_identities(actor=Actor.operator())
        self._tell("")
        after = ring.keys()[0].key_id
        if not renewed and after == before:
            self.stdout.write(f"Everything was under {after} already. Nothing changed.")
            return
        with transaction.atomic():
            custody.record(
                "system:main",
                event="system.vault_key_rotated",
                actor=Actor.operator(),
                payload={"renewed": renewed, "key": after},
            )
        self.stdout.write(f"{renewed:,} keys wrapped anew. Everything is now under {after}.")
        if after != before:
            self.stdout.write(
                f"{before} stays in the key file as an earlier key. Backups made until now still need it: "
                "keep it as long as you keep them, then remove its line."
            )

    def _progress(self, step: str, done: int, total: int | None) -> None:
        self._tell(f"{done:,} of {total:,} keys")

    def _tell(self, text: str) -> None:
        if self.stderr.isatty():
            self.stderr.write(f"\r\x1b[K{text}", ending="")
