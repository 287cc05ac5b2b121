"""manage.py ingest PATH... --case CODE [--source CODE] [--recursive] [--json]"""

import json
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from tqdm import tqdm

from archive import ingest
from archive.custody import Actor
from archive.errors import AmparoError, NotFound, StorageFull
from archive.management.base import Command as Base
from archive.models import Case, Source


class Command(Base):
    """Take files into a case from the shell."""

    help = (
        "Take files into a case. Safe to stop and to run again: what a case holds already is not taken twice, "
        "its new name and origin are kept as a further acquisition."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("paths", nargs="+", type=Path, metavar="PATH")
        parser.add_argument("--case", required=True, metavar="CODE")
        parser.add_argument("--source", metavar="CODE")
        parser.add_argument("--recursive", action="store_true", help="take what is in the folders named")
        parser.add_argument(
            "--json", action="store_true", help="print one JSON object for each file, and a summary"
        )

    def work(
        self, *, paths: list[Path], case: str, source: str | None, recursive: bool, **options: Any
    ) -> None:
        as_json = options["json"]
        row = Case.objects.filter(code=case).first()
        if row is None:
            raise NotFound(
                f"There is no case {case}. Open it first: ./manage case open {case} --title 'TITLE'"
            )
        origin = None
        if source:
            origin = Source.objects.filter(case=row, code=source).first()
            if origin is None:
                raise NotFound(f"Case {case} has no source {source}. Record it on the case's Sources page.")
        listing = ingest.find_files(paths, recursive=recursive)
        counts = {"new": 0, "already_held": 0, "not_taken": len(listing.unusable)}
        for unusable in listing.unusable:
            self._tell(as_json, path=unusable.path, state="not taken", reason=unusable.reason)
        actor, tool = Actor.operator(), f"{settings.SOFTWARE} ingest"
        bar = tqdm(listing.files, unit="file", file=sys.stderr, disable=as_json or not sys.stderr.isatty())
        for found in bar:
            try:
                taken = ingest.acquire_file(case=row, actor=actor, found=found, tool=tool, source=origin)
            except StorageFull as error:
                bar.close()
                self._tell(as_json, path=found.path, state="not taken", reason=error.sentence)
                raise
            except AmparoError as error:
                counts["not_taken"] += 1
                self._tell(as_json, path=found.path, state="not taken", reason=error.sentence)
                continue
            counts["already_held" if taken.already_held else "new"] += 1
            if as_json:
                state = "already held" if taken.already_held else "new"
                self._tell(True, path=found.path, state=state, item=taken.item.code, sha256=taken.item.sha256)
        self._summary(as_json, case, counts)
        if counts["not_taken"]:
            sys.exit(1)

    def _tell(self, as_json: bool, *, path: Path, **what: str) -> None:
        name = str(path).encode("utf-8", "backslashreplace").decode()
        if as_json:
            self.stdout.write(json.dumps({"path": name, **what}))
        else:
            self.stderr.write(f"Not taken: {name}: {what['reason']}")

    def _summary(self, as_json: bool, case: str, counts: dict[str, int]) -> None:
        if as_json:
            self.stdout.write(json.dumps({"summary": counts, "case": case}))
            return
        self.stdout.write(
            f"Case {case}: {counts['new']} new; {counts['already_held']} already held (nothing taken twice, "
            f"the acquisition noted); {counts['not_taken']} not taken."
        )
