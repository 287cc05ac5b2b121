"""manage.py examine [--case CODE]"""

from argparse import ArgumentParser
from typing import Any

from django.db import transaction

from archive import ingest, jobs
from archive.errors import NotFound
from archive.management.base import Command as Base
from archive.models import Case


class Command(Base):
    """After an upgrade: read in files what earlier releases did not, such as C2PA records and EXIF thumbnails."""

    help = "Queue every item in whose file an earlier release read less than this one does. A worker reads them again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--case", metavar="CODE", help="of this case alone")

    def work(self, *, case: str | None, **_: Any) -> None:
        chosen = Case.objects.filter(code=case).first() if case is not None else None
        if case is not None and chosen is None:
            raise NotFound(f"There is no case {case}. Nothing was queued.")
        queued = 0
        for item in ingest.read_less(chosen).select_related("case").order_by("pk").iterator(chunk_size=500):
            with transaction.atomic(durable=True):
                queued += jobs.enqueue("archive.examine_again", subject=item, once=True) is not None
        self.stdout.write(f"{queued} items are queued. What models make of it follows by itself.")
