"""manage.py bundle export | import | key"""

import hashlib
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from tqdm import tqdm

from archive.custody import Actor
from archive.errors import BadInput, NotFound
from archive.management.base import Command as Base
from archive.models import Case, Item
from archive.vault import Progress
from evidence import bundle, importing, terms, whole
from evidence.disclosure import DEFAULT, GROUPS
from evidence.models import Bundle
from evidence.work import Stopped

COUNTED = ("gather",)  # steps that count items; the others count bytes


class Command(Base):
    """Evidence bundles from the shell."""

    help = "Write an evidence bundle, read one back, or print what recipients must get by another way."

    def add_arguments(self, parser: ArgumentParser) -> None:
        commands = parser.add_subparsers(dest="act", required=True)
        export = commands.add_parser("export", help="write a bundle: originals, custody, decisions, signed")
        which = export.add_mutually_exclusive_group()
        which.add_argument("--case", help="code of the case")
        which.add_argument("--all", action="store_true", help="the whole archive: a bag a case, and an index")
        export.add_argument(
            "--item",
            action="append",
            metavar="ID",
            help="an item's number, code or id; may be given again. Without it: all items of the case",
        )
        export.add_argument("--out", required=True, type=Path, help="a path that does not exist yet")
        export.add_argument("--zip", action="store_true", help="write one .zip instead of a folder")
        export.add_argument(
            "--resume", action="store_true", help="go on with an export to this path that was killed"
        )
        export.add_argument("--reason", default="", help="why; goes into the custody log")
        export.add_argument(
            "--for",
            dest="destination",
            choices=Bundle.Destination.values,
            default=Bundle.Destination.INTERNAL,
            help="what the sources' consent is held against (default: internal)",
        )
        export.add_argument(
            "--recipient", default="", help="who gets it; goes into the register of disclosures"
        )
        export.add_argument("--basis", default="", help="the mandate or legal basis under which they do")
        export.add_argument("--approved-by", default="", help="who approved that")
        export.add_argument(
            "--to",
            action="append",
            default=[],
            metavar="NAME=KEY",
            help="encrypt to this age key (age1...) of this holder; may be given again. Makes one .zip.age",
        )
        export.add_argument(
            "--files",
            choices=Bundle.Files.values,
            default=Bundle.Files.ORIGINALS,
            help="originals, approved redactions in their stead, or both",
        )
        export.add_argument(
            "--no-pictures",
            dest="pictures",
            action="store_false",
            help="leave pictures and storyboards out of the report",
        )
        export.add_argument(
            "--volume-size", default="0", metavar="SIZE", help="split into volumes of, say, 4GiB of files"
        )
        export.add_argument(
            "--override-consent",
            default="",
            metavar="REASON",
            help="export although consent stands against it; recorded for each source, with your name",
        )
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
        bring = commands.add_parser(
            "import", help="check a bag (ours or any BagIt bag) and take it into a case"
        )
        bring.add_argument("path", type=Path, help="the bag: a folder or a .zip")
        bring.add_argument("--case", help="code of the case that takes it")
        bring.add_argument("--check", action="store_true", help="check alone, and take nothing")
        bring.add_argument(
            "--key",
            action="append",
            default=[],
            help="for a bundle of Amparo: fingerprint or file of a key to trust; may be given again",
        )
        commands.add_parser("key", help="the signing key's fingerprint and the verifier's SHA-256")

    def work(self, *, act: str, **options: Any) -> None:
        {"export": self.export, "import": self.bring, "key": self.key}[act](**options)

    def bring(self, *, path: Path, case: str | None, check: bool, key: list[str], **_: Any) -> None:
        """Check a bag, and take it into a case. Exit status 0 good, 1 bad, 3 could not check everything."""
        if not check and case is None:
            raise BadInput("Name the case that takes it with --case, or give --check. Nothing was imported.")
        with _bar() as progress:
            if check:
                checked, done = importing.check(path, keys=key, progress=progress), None
            else:
                found = Case.objects.filter(code=case).first()
                if found is None:
                    raise NotFound(f"There is no case {case}. Nothing was imported.")
                done = importing.take(
                    case=found, actor=Actor.operator(), path=path, keys=key, progress=progress
                )
                checked = done.checked
        report = checked.report
        for word, faults in (
            ("BAD", report.faults),
            ("COULD NOT CHECK", report.unknown),
            ("NOTE", report.warnings),
        ):
            for fault in faults:
                self.stdout.write(f"{word}  {fault.code}: {_plain(fault.file)}: {_plain(fault.sentence)}")
        self.stdout.write(f"Answer: {checked.answer}. {len(report.payload)} payload files.")
        if done and checked.answer == "good":
            self.stdout.write(
                f"Case {case}: {len(done.new)} new items, {len(done.already_held)} already held; what is left of the bag "
                f"is {done.record.code if done.record else ''}."
            )
        elif done:
            self.stdout.write("Nothing was imported.")
        if status := {"good": 0, "bad": 1}.get(checked.answer, 3):
            sys.exit(status)

    def export(
        self, *, case: str | None, item: list[str] | None, out: Path, resume: bool, **options: Any
    ) -> None:
        """Write a bundle, go on with one, or write a bundle of each case."""
        actor, as_zip = Actor.operator(), options["zip"]
        try:
            with _bar() as progress:
                if options["all"]:
                    if item:
                        raise BadInput("--all takes every item: leave out --item.")
                    index = whole.export(
                        out=out,
                        actor=actor,
                        resume=resume,
                        reason=options["reason"],
                        as_zip=as_zip,
                        progress=progress,
                        **_terms(options),
                    )
                    self.stdout.write(f"{len(index)} cases are in {out}; index.json there lists them.")
                    return
                if resume:
                    made = bundle.resume(out=out, actor=actor, as_zip=as_zip, progress=progress)
                else:
                    found = Case.objects.filter(code=case).first()
                    if found is None:
                        raise NotFound(f"There is no case {case}. Nothing was exported.")
                    made = bundle.export(
                        case=found,
                        items=None if item is None else [_item(found, name) for name in item],
                        out=out,
                        actor=actor,
                        reason=options["reason"],
                        as_zip=as_zip,
                        progress=progress,
                        **_terms(options),
                    )
        except Stopped:
            raise BadInput(
                "The bundle was cancelled by somebody else. What was written of it is removed."
            ) from None
        except KeyboardInterrupt:
            self.stderr.write(
                "Cancelled. What was written of the bundle is removed; the log says that you stopped it."
            )
            sys.exit(130)
        self.stdout.write(f"{made.item_count} items are in {out}.")
        if made.recipient_keys:
            self.stdout.write("It is encrypted; its recipients open it with: age -d -i KEY-FILE")
        self.stdout.write(f"Check it: python verify_bundle.py {out} --key {made.key}")
        self.stdout.write(
            "Give its recipient that fingerprint and verify_bundle.py by another way than the bundle."
        )

    def key(self, **_: Any) -> None:
        """Print the fingerprint and the verifier's hash."""
        self.stdout.write(f"key's fingerprint    {bundle.fingerprint()}")
        self.stdout.write(f"verify_bundle.py     {hashlib.sha256(bundle.VERIFIER.read_bytes()).hexdigest()}")


def _terms(options: dict[str, Any]) -> dict[str, Any]:
    """The options as fields of evidence.terms.Terms."""
    return {
        "disclosed": tuple(n for n in (*DEFAULT, *options["disclose"]) if n not in options["withhold"]),
        "keys": tuple(terms.key_of(text) for text in options["to"]),
        "volume_size": terms.size_of(options["volume_size"]),
        "override": options["override_consent"],
        **{
            name: options[name]
            for name in ("destination", "files", "pictures", "recipient", "basis", "approved_by")
        },
    }


@contextmanager
def _bar() -> Iterator[Progress]:
    with tqdm(unit="B", unit_scale=True, disable=not sys.stderr.isatty()) as bar:

        def progress(step: str, done: int, total: int | None = None) -> None:
            bar.unit = "" if step in COUNTED else "B"
            bar.set_description(step)
            bar.total, bar.n = total, done
            bar.refresh()

        yield progress


def _plain(text: str) -> str:
    """A stranger's text for the terminal: nothing that moves the cursor or turns the line around."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


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
