"""manage.py vault audit | restore | copy | check | orphans | rotate | new-key"""

import itertools
import sys
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from archive import cases, custody, tus, vault
from archive.custody import Actor
from archive.errors import BadInput, Damaged, KeyUnavailable, Missing
from archive.management.base import Command as Base
from archive.vault.keys import LocalKey, read_new_key


class Command(Base):
    """The vault from the shell."""

    help = "Audit what the vault holds, repair it from the second copy, or change the key that everything is under."

    def add_arguments(self, parser: ArgumentParser) -> None:
        acts = parser.add_subparsers(dest="act", required=True)
        audit = acts.add_parser(
            "audit",
            help="read back and hash what is due, in the vault and in the second copy, and record what is found; "
            "exit 0 good, 1 bad, 3 could not read",
        )
        which = audit.add_mutually_exclusive_group()
        which.add_argument("--all", action="store_true", help="every file, not only what is due")
        which.add_argument("--older-than", type=int, metavar="DAYS", help="what was not checked for so long")
        audit.add_argument("--limit", type=int, metavar="N", help="at most so many files")
        audit.add_argument(
            "--rate",
            type=int,
            metavar="BYTES",
            help="read so many a second, not AMPARO_FIXITY_RATE; 0: no limit",
        )
        restore = acts.add_parser(
            "restore",
            help="set damaged files aside and put the second copy's in their place; exit 0 good, 1 bad, "
            "3 could not read",
        )
        whose = restore.add_mutually_exclusive_group(required=True)
        whose.add_argument("sha256", nargs="?", metavar="SHA256", help="one file")
        whose.add_argument("--all", action="store_true", help="every file whose last check was bad")
        copy = acts.add_parser(
            "copy", help="bring the second copy up to date; the first time it sets the place up"
        )
        copy.add_argument(
            "--new-place",
            action="store_true",
            help="AMPARO_SECOND_COPY names another place now, or one that was emptied: copy everything into it",
        )
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
        acts: dict[str, Callable[..., None]] = {
            "audit": self._audit,
            "restore": self._restore,
            "copy": self._copy,
            "check": self._check,
            "orphans": self._orphans,
            "rotate": self._rotate,
            "new-key": self._new_key,
        }
        acts[act](**options)

    def _audit(
        self, *, all: bool, older_than: int | None, limit: int | None, rate: int | None, **_: Any
    ) -> None:
        from archive import fixity

        days = 0 if all else settings.FIXITY_DAYS if older_than is None else older_than
        before = timezone.now() - timedelta(days=days)
        total = min(fixity.due(before).count(), limit or sys.maxsize)
        counts = {"vault": Counter[str](), "second copy": Counter[str]()}

        def told(sha256: str, answer: fixity.Answer, copy: fixity.Answer | None) -> None:
            for place, found in (("vault", answer), ("second copy", copy)):
                if found is not None:
                    counts[place][str(found.fixity)] += 1
                    if found.fault:
                        word = "BAD" if found.fixity == fixity.BAD else "COULD NOT READ"
                        self.stdout.write(f"{word}  {sha256} in the {place}: {found.fault}")
            self._tell(f"{sum(counts['vault'].values()):,} of {total:,} read back")

        away = ""
        try:
            hashes = itertools.islice(fixity.oldest_first(before), limit)
            fixity.audit(hashes, actor=Actor.operator(), rate=rate, told=told)
        except vault.Unreachable as error:
            away = str(error)
        self._tell("")
        for place, found in counts.items():
            if found or place == "vault":
                self.stdout.write(
                    f"In the {place}: {found['good']:,} good, {found['bad']:,} bad, {found['unread']:,} could not be "
                    "read."
                )
        if away:
            self.stdout.write(f"COULD NOT READ  {away}")
        bad = any(found["bad"] for found in counts.values())
        unread = away or any(found["unread"] for found in counts.values())
        self._end("bad" if bad else "could not read" if unread else "good")

    def _restore(self, *, sha256: str | None, all: bool, **_: Any) -> None:
        from archive import copies, fixity
        from archive.models import Blob

        bad = Blob.objects.expected().filter(fixity=fixity.BAD).order_by("pk")
        hashes = [sha256.lower()] if sha256 else list(bad.values_list("pk", flat=True))
        counts = Counter[copies.Outcome]()
        for number, name in enumerate(hashes, 1):
            came = copies.restore(name, actor=Actor.operator(), progress=self._bytes)
            counts[came.outcome] += 1
            self.stdout.write(f"{came.outcome.upper()}  {name}: {came.sentence}")
            self._tell(f"{number:,} of {len(hashes):,}")
        self._tell("")
        words = ", ".join(f"{counts[outcome]:,} {outcome}" for outcome in copies.Outcome)
        self.stdout.write(f"{words}.")
        if counts[copies.Outcome.NO_GOOD_COPY]:
            return self._end("bad")
        self._end("could not read" if counts[copies.Outcome.UNREAD] else "good")

    def _copy(self, *, new_place: bool, **_: Any) -> None:
        from archive import copies

        try:
            second = copies.set_up(anew=new_place)
            came = copies.copy_missing(
                actor=Actor.operator(), told=lambda done, total: self._tell(f"{done:,} of {total:,} copied")
            )
        except vault.Unreachable as error:
            self.stdout.write(f"COULD NOT READ  {error} If this is a new place, add --new-place.")
            return self._end("could not read")
        self._tell("")
        for fault in came.faults:
            self.stdout.write(f"BAD  {fault}")
        self.stdout.write(
            f"{came.written:,} files copied to {second.where} and read back there, {came.already:,} were there "
            f"already, {len(came.faults):,} could not be copied."
        )
        self._end("bad" if came.faults else "good")

    def _end(self, answer: str) -> None:
        self.stdout.write(f"Answer: {answer}.")
        if answer != "good":
            sys.exit({"bad": 1, "could not read": 3, "could not check": 3}[answer])

    def _check(self, *, all: bool, **_: Any) -> None:
        from archive.models import Blob

        held = vault.default_vault()
        act = "read back" if all else "opened"
        counts = {"good": 0, "bad": 0, "could not check": 0}
        rows = Blob.objects.expected().order_by("sha256").values_list("sha256", "size")
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
        self._end(answer)

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
        for name in vault.orphans(Blob.objects.expected().values_list("sha256", flat=True).iterator()):
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
        renewed = self._renew(vault.rotate) + self._renew(tus.rotate)
        away = ""
        if second := vault.second_copy():
            try:
                renewed += self._renew(second.rotate)
            except vault.Unreachable as error:
                away = (
                    f"COULD NOT READ  {error} The keys there are still under the earlier key: keep it, and run "
                    "`vault rotate` again when the second copy can be reached."
                )
        renewed += cases.rewrap_identities(actor=Actor.operator())
        self._tell("")
        after = ring.keys()[0].key_id
        if not renewed and after == before and not away:
            self.stdout.write(f"Everything was under {after} already. Nothing changed.")
            return
        with transaction.atomic():
            custody.record(
                "system:main",
                event="system.vault_key_rotated",
                actor=Actor.operator(),
                payload={"renewed": renewed, "key": after, "second_copy_left_out": bool(away)},
            )
        where = "Everything in the vault" if away else "Everything"
        self.stdout.write(f"{renewed:,} keys wrapped anew. {where} is now under {after}.")
        if after != before:
            self.stdout.write(
                f"{before} stays in the key file as an earlier key. Backups made until now still need it: "
                "keep it as long as you keep them, then remove its line."
            )
        if away:
            self.stdout.write(away)
            self._end("could not read")

    def _renew(self, rotate: Callable[..., vault.Rotated]) -> int:
        """Again and again, until nothing came in meanwhile under the earlier key."""
        renewed = 0
        while passed := rotate(progress=self._progress).renewed:
            renewed += passed
        return renewed

    def _progress(self, step: str, done: int, total: int | None) -> None:
        self._tell(f"{done:,} of {total:,} keys")

    def _bytes(self, step: str, done: int, total: int | None) -> None:
        self._tell(f"{step}: {done:,} of {total or 0:,} bytes")

    def _tell(self, text: str) -> None:
        if self.stderr.isatty():
            self.stderr.write(f"\r\x1b[K{text}", ending="")
