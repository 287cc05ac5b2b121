"""manage.py search rebuild | check [--case CODE]"""

from argparse import ArgumentParser
from typing import Any

from archive import search
from archive.errors import Damaged, NotFound
from archive.management.base import Command as Base
from archive.models import Case, Item


class Command(Base):
    """The search by text from the shell."""

    help = "Make the words that are searched by text again, or compare them with what they repeat."

    def add_arguments(self, parser: ArgumentParser) -> None:
        commands = parser.add_subparsers(dest="act", required=True)
        for name, words in (
            ("rebuild", "make every item's words again, as after an upgrade"),
            ("check", "name the items whose words are not what they would be if made now"),
        ):
            commands.add_parser(name, help=words).add_argument(
                "--case", metavar="CODE", help="otherwise every case"
            )

    def work(self, *, act: str, case: str | None = None, **_: Any) -> None:
        chosen = Case.objects.filter(code=case).first() if case else None
        if case and chosen is None:
            raise NotFound(f"There is no case {case}.")
        if act == "rebuild":
            self.stdout.write(f"The words of {search.rebuild(chosen)} items can be found.")
            return
        wrong = list(search.faults(chosen))
        for item in Item.objects.filter(pk__in=wrong[:100]).select_related("case"):
            self.stdout.write(f"{item.code}: its words are not what they should be")
        if wrong:
            raise Damaged(
                f"The words of {len(wrong)} items are not what they should be; nothing of the items is affected. Run: "
                "manage.py search rebuild"
            )
        self.stdout.write("Every item is found by the words that it should be.")
