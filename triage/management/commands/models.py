"""manage.py models list | pull [NAME...] | verify [NAME...] | register FILE | register-captioner FOLDER --name NAME ... |
promote NAME | retire NAME
"""

import sys
from argparse import ArgumentParser
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from tqdm import tqdm

from archive import custody
from archive.custody import Actor
from archive.errors import ModelUnavailable
from archive.management.base import Command as Base
from triage import plugins, registry, trained, trained_indicators
from triage.management import captioning
from triage.registry import Report

LATER = "What came in before was not looked at with these. To do that now: manage.py triage again"


class Command(Base):
    """Model weights from the shell."""

    help = (
        "List the registered models, install their weights, or check them. pull is the only command that asks a "
        "server outside for a file: MODEL_MIRROR (a folder or a URL) where it is set, else the official address."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        commands = parser.add_subparsers(dest="act", required=True)
        commands.add_parser("list", help="what is registered, and what of it is installed")
        pull = commands.add_parser(
            "pull", help="install weights; their SHA-256 is checked before they are opened"
        )
        pull.add_argument("names", nargs="*", metavar="NAME", help="otherwise all that are in use")
        verify = commands.add_parser("verify", help="hash what is installed")
        verify.add_argument("names", nargs="*", metavar="NAME", help="otherwise all")

        register = commands.add_parser("register", help="let a clip classifier run that was trained here")
        register.add_argument("file", type=Path, metavar="FILE", help="as triage train-clips wrote it")

        captioner = commands.add_parser(
            "register-captioner",
            help="pin a mirrored captioner by its hashes, as a candidate (docs/triage.md, Captions)",
        )
        captioner.add_argument(
            "folder", type=Path, metavar="FOLDER", help="with its networks, tokenizer and settings"
        )
        for option, words in (
            ("--name", "what it is called here: small letters, digits, hyphens"),
            ("--language", "the language that it writes, such as en"),
            ("--licence", "of its weights, as their publisher states it"),
            ("--source", "where they come from: an address, with the revision"),
        ):
            captioner.add_argument(option, required=True, help=words)

        for name, words in (
            ("promote", "let an indicator that was trained here, or a captioner that was registered, run"),
            ("retire", "let it run no longer"),
        ):
            commands.add_parser(name, help=words).add_argument(
                "name", metavar="NAME", help="as models list says it"
            )

    def work(self, *, act: str, names: Iterable[str] = (), file: Path | None = None, **options: Any) -> None:
        if act == "list":
            self._list()
        elif file is not None:
            report = Report(trained.register(file, registry.folder()), "registered")
            _record(report)
            self._tell_all([report], bad=())
            self.stdout.write(LATER)
        elif act == "register-captioner":
            said = {key: options[key] for key in ("folder", "name", "language", "licence", "source")}
            report = Report(captioning.register(**said, root=registry.folder()), "registered as a candidate")
            _record(report)
            self._tell_all([report], bad=())
            self.stdout.write(
                f"It runs once a person promotes it: manage.py models promote {report.model.name}"
            )
        elif act in ("promote", "retire"):
            self._stage(options["name"], registry.IN_USE if act == "promote" else registry.CANDIDATE)
        elif act == "pull":
            self._pull(names)
        else:
            self._tell_all(registry.verify(names), bad=("wrong",))

    def _list(self) -> None:
        in_use = registry.in_use()
        for known in registry.every().values():
            entry = registry.as_chosen(known) or known
            state = (
                "runs"
                if entry in in_use
                else "installed"
                if registry.is_installed(entry)
                else "not installed"
            )
            self.stdout.write(
                f"{entry.name}  {state}\n"
                f"  {entry.title}; {entry.task}, {len(entry.classes)} classes; {entry.framework}, "
                f"{entry.input_size} px; {entry.licence}; {entry.stage}\n"
                f"  thresholds {', '.join(f'{k} {v}' for k, v in entry.thresholds.items())}\n"
                f"  from {entry.source}"
            )
            for file in entry.files:
                self.stdout.write(f"  {file.sha256}  {file.size:>9}  {file.name}")
        for plugin in plugins.installed():
            state = plugin.fault or ("on" if plugin.name in settings.ANALYSERS else "off")
            self.stdout.write(f"plug-in {plugin.name}  {state}\n  from {plugin.package}")
        if notice := registry.notice():
            self.stdout.write(f"\n{notice} Install them: manage.py models pull")

    def _stage(self, name: str, stage: str) -> None:
        """A person's decision, with what was measured, is part of the archive's history."""
        root = registry.folder()
        known = registry.trained(root).get(name)
        if known and known.family == registry.CAPTIONER:
            entry = captioning.stage(known, stage, root)
        else:
            entry = trained_indicators.stage(name, stage, root)
        with transaction.atomic(durable=True):
            custody.record(
                "system:main",
                event="system.model_staged",
                actor=Actor.operator(),
                payload={
                    "model": entry.name,
                    "sha256": entry.sha256,
                    "stage": entry.stage,
                    "measured": dict(entry.measured),
                },
            )
        self.stdout.write(f"{entry.name}: {entry.stage}")
        if entry.stage == registry.IN_USE:
            self.stdout.write(LATER)

    def _pull(self, names: Iterable[str]) -> None:
        bars: dict[str, tqdm] = {}

        def progress(name: str, done: int, total: int) -> None:
            if name not in bars:
                bars[name] = tqdm(
                    total=total,
                    unit="B",
                    unit_scale=True,
                    desc=name,
                    file=sys.stderr,
                    disable=not sys.stderr.isatty(),
                )
            bars[name].update(done - bars[name].n)

        reports = []
        try:
            for report in registry.pull(names, progress=progress):
                reports.append(report)
                if report.state == "installed":
                    _record(report)
        finally:
            for bar in bars.values():
                bar.close()
        self._tell_all(reports, bad=("refused",))
        if any(report.state == "installed" for report in reports):
            self.stdout.write(LATER)

    def _tell_all(self, reports: Iterable[Report], *, bad: tuple[str, ...]) -> None:
        wrong = 0
        for report in reports:
            wrong += report.state in bad
            self.stdout.write(
                f"{report.model.name}: {report.state}{'. ' if report.fault else ''}{report.fault}"
            )
        if wrong:
            raise ModelUnavailable(f"{wrong} of the models cannot be used. The others are as said above.")


def _record(report: Report) -> None:
    """Which bytes were installed is part of the archive's history."""
    with transaction.atomic(durable=True):
        custody.record(
            "system:main",
            event="system.models_pulled",
            actor=Actor.operator(),
            payload={
                "model": report.model.name,
                "files": {file.name: file.sha256 for file in report.model.files},
            },
        )
