"""manage.py storyboards [--case CODE]"""

from argparse import ArgumentParser
from typing import Any

from django.db import transaction

from archive import ingest, jobs
from archive.errors import NotFound
from archive.management.base import Command as Base
from archive.models import Case, Item, Rendition


class Command(Base):
    """Storyboards of the videos that came in before there were any, or whose job failed."""

    help = "Queue the storyboard of every video that decodes and has none. A worker makes them."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--case", metavar="CODE", help="of this case alone")

    def work(self, *, case: str | None, **_: Any) -> None:
        lacking = Item.objects.filter(kind=Item.Kind.VIDEO, disposed_at=None, duration_ms__gt=0).exclude(
            renditions__in=Rendition.objects.filter(kind=Rendition.Kind.STORYBOARD)
        )
        if case is not None:
            if not Case.objects.filter(code=case).exists():
                raise NotFound(f"There is no case {case}. Nothing was queued.")
            lacking = lacking.filter(case__code=case)
        queued = 0
        for item in lacking.select_related("case").order_by("pk").iterator(chunk_size=500):
            if ingest.wants_storyboard(item):
                with transaction.atomic(durable=True):
                    queued += jobs.enqueue("archive.storyboard", subject=item, once=True) is not None
        self.stdout.write(f"{queued} storyboards are queued.")
