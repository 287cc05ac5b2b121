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
from archive.errors import NotFound, StorageFull
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
        bar = tqdm(
            total=len(listing.files), unit="file", file=sys.stderr, disable=as_json or not sys.stderr.isatty()
        )
        for taken in ingest.acquire_files(
            case=row, actor=actor, files=listing.files, tool=tool, source=origin
        ):
            bar.update()
            if taken.error:
                counts["not_taken"] += 1
                self._tell(as_json, path=taken.found.path, state="not taken", reason=taken.error.sentence)
                if isinstance(taken.error, StorageFull):
                    bar.close()
                    raise taken.error
            elif taken.acquired:
                item, held = taken.acquired.item, taken.acquired.already_held
                counts["already_held" if held else "new"] += 1
                if as_json:
                    state = "already held" if held else "new"
                    self._tell(True, path=taken.found.path, state=state, item=item.code, sha256=item.sha256)
        bar.close()
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
