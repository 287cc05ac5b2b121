"""manage.py bundle export --case CODE [--item ID ...] --out PATH [--zip] | key"""

import hashlib
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any
from uuid import UUID

from tqdm import tqdm

from archive.custody import Actor
from archive.errors import NotFound
from archive.management.base import Command as Base
from archive.models import Case, Item
from evidence import bundle
from evidence.disclosure import DEFAULT, GROUPS


class Command(Base):
    """Evidence bundles from the shell."""

    help = "Write an evidence bundle, or print what its recipients must get by another way."

    def add_arguments(self, parser: ArgumentParser) -> None:
        commands = parser.add_subparsers(dest="act", required=True)
        export = commands.add_parser("export", help="write a bundle: originals, custody, decisions, signed")
        export.add_argument("--case", required=True, help="code of the case")
        export.add_argument(
            "--item",
            action="append",
            metavar="ID",
            help="an item's number, code or id; may be given again. Without it: all items of the case",
        )
        export.add_argument("--out", required=True, type=Path, help="a path that does not exist yet")
        export.add_argument("--zip", action="store_true", help="write one .zip instead of a folder")
        export.add_argument("--reason", default="", help="for whom and why; goes into the custody log")
        export.add_argument(
            "--disclose",
            action="append",
            default=[],
            choices=sorted(GROUPS),
            help="also give out these values",
        )
        export.add_argument(
            "--withhold",
            action="append",
            default=[],
            choices=sorted(GROUPS),
            help="do not give out these values",
        )
        commands.add_parser("key", help="the signing key's fingerprint and the verifier's SHA-256")

    def work(self, *, act: str, **options: Any) -> None:
        getattr(self, act)(**options)

    def export(
        self,
        *,
        case: str,
        item: list[str] | None,
        out: Path,
        zip: bool,
        reason: str,
        disclose: list[str],
        withhold: list[str],
        **_: Any,
    ) -> None:
        """Write a bundle."""
        found = Case.objects.filter(code=case).first()
        if found is None:
            raise NotFound(f"There is no case {case}. Nothing was exported.")
        with tqdm(unit="B", unit_scale=True, disable=not sys.stderr.isatty()) as bar:

            def progress(step: str, done: int, total: int | None = None) -> None:
                bar.set_description(step)
                bar.total, bar.n = total, done
                bar.refresh()

            made = bundle.export(
                case=found,
                items=None if item is None else [_item(found, name) for name in item],
                out=out,
                actor=Actor.operator(),
                disclosed=[name for name in (*DEFAULT, *disclose) if name not in withhold],
                reason=reason,
                as_zip=zip,
                progress=progress,
            )
        self.stdout.write(f"{made.item_count} items are in {out}.")
        self.stdout.write(f"Check it: python verify_bundle.py {out} --key {made.key}")
        self.stdout.write(
            "Give its recipient that fingerprint and verify_bundle.py by another way than the bundle."
        )

    def key(self, **_: Any) -> None:
        """Print the fingerprint and the verifier's hash."""
        self.stdout.write(f"key's fingerprint    {bundle.fingerprint()}")
        self.stdout.write(f"verify_bundle.py     {hashlib.sha256(bundle.VERIFIER.read_bytes()).hexdigest()}")


def _item(case: Case, name: str) -> UUID:
    rows = Item.objects.filter(case=case)
    number = name.removeprefix(f"{case.code}/")
    if number.isdecimal():
        found = rows.filter(number=int(number)).first()
    else:
        try:
            found = rows.filter(pk=UUID(name)).first()
        except ValueError:
            found = None
    if found is None:
        raise NotFound(f"There is no item {name} in case {case.code}. Nothing was exported.")
    return found.pk
