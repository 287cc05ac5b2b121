"""manage.py triage check | rescore | rebuild | again | unusual | near | replay [--case CODE] | index rebuild | index check | simulate --dataset DIR --positive NAME | train-clips --out FILE --dataset DIR | train-indicator --dataset DIR --positive NAME --name NAME"""

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.utils import timezone

from archive.custody import Actor
from archive.errors import Damaged, NotFound
from archive.management.base import Command as Base
from archive.models import Case
from triage import near, phrases, pictures, pipeline, registry, replaying, similar, standing, tracks, unusual
from triage.management import indicating, simulating, training


class Command(Base):
    """Suggestions and the order of review from the shell."""

    help = "Check stored suggestions against the custody log, or make the order of review again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        commands = parser.add_subparsers(dest="act", required=True)
        for name, words in (
            ("check", "compare every stored detection with the hash in its analysis"),
            ("rescore", "score every item again by the criteria in force"),
            ("rebuild", "make the whole order again from items, detections, criteria and decisions"),
            ("again", "queue the analysis of items that the installed models have not looked at"),
            ("unusual", "make again what says how unusual items are, and compare it with what is stored"),
            ("near", "make fingerprints and groups of items that look the same again"),
        ):
            commands.add_parser(name, help=words).add_argument(
                "--case", metavar="CODE", help="otherwise every case"
            )
        index = commands.add_parser("index", help="the index for similar items: made anew, or checked")
        index.add_argument("what", choices=["rebuild", "check"])
        replay = commands.add_parser(
            "replay", help="make stored orders again and compare them with what people were shown"
        )
        replay.add_argument("--case", metavar="CODE", help="otherwise every case")
        replay.add_argument(
            "--last", type=int, default=1000, metavar="N", help="so many answers, the latest (1000)"
        )
        simulate = commands.add_parser(
            "simulate", help="replay a review of a labelled folder of pictures: order, calibration, interval"
        )
        simulate.add_argument(
            "--dataset", required=True, type=Path, metavar="DIR", help="a folder of class folders"
        )
        simulate.add_argument(
            "--positive",
            required=True,
            metavar="NAME",
            help="the folder of relevant pictures (--positive=-NAME where it begins with a dash)",
        )
        simulate.add_argument("--seeds", type=int, default=10, metavar="N", help="how often (10)")
        simulate.add_argument(
            "--examples", type=int, default=1, metavar="N", help="relevant pictures given beforehand (1)"
        )
        simulate.add_argument("--json", action="store_true", help="figures for programs")
        clips = commands.add_parser(
            "train-clips",
            help="train a classifier of what happens in clips, and measure it on groups left out",
        )
        source = clips.add_mutually_exclusive_group(required=True)
        source.add_argument(
            "--dataset", type=Path, metavar="DIR", help="a folder of folders GROUP_CLASS or CLASS"
        )
        source.add_argument("--case", metavar="CODE", help="the videos that people answered a question about")
        clips.add_argument("--question", type=int, default=0, metavar="N", help="of that case (0)")
        clips.add_argument(
            "--out", required=True, type=Path, metavar="FILE", help="where the classifier goes"
        )
        clips.add_argument("--ordinary", default="", metavar="CLASS", help="is never suggested")
        clips.add_argument("--leave-out", default="", metavar="GROUP", help="measure on this one alone")
        clips.add_argument(
            "--seed", type=int, default=0, metavar="N", help="the same seed, the same file (0)"
        )

        indicator = commands.add_parser(
            "train-indicator",
            help="train an indicator of changed or generated pictures, and measure it on pictures left out",
        )
        indicator.add_argument(
            "--dataset", required=True, type=Path, metavar="DIR", help="a folder of class folders"
        )
        indicator.add_argument(
            "--positive", required=True, metavar="NAME", help="the folder of pictures of the kind"
        )
        indicator.add_argument(
            "--name", required=True, metavar="NAME", help="what its tag says: 'may be NAME'"
        )
        indicator.add_argument("--seed", type=int, default=0, metavar="N", help="deals out the folds (0)")

    def work(self, *, act: str, case: str | None = None, **options: Any) -> None:
        if act == "simulate":
            self.simulate(**options)
            return
        if act == "index":
            self.index(options["what"])
            return
        if act == "train-clips":
            self.train_clips(case, **options)
            return
        if act == "train-indicator":
            self.train_indicator(**options)
            return
        cases = list(Case.objects.filter(code=case) if case else Case.objects.all())
        if case and not cases:
            raise NotFound(f"There is no case {case}.")
        if act == "replay":
            self.replay(cases[0] if case else None, **options)
            return
        getattr(self, "compare" if act == "check" else act)(cases)  # BaseCommand has a check() of its own

    def compare(self, cases: list[Case]) -> None:
        """Name every analysis that is not what the log says."""
        wrong = 0
        for case in cases:
            for analysis, fault in pipeline.faults(case):
                wrong += 1
                self.stdout.write(f"{analysis.item.code} {analysis.analyser} {analysis.pk}: {fault}")
        if wrong:
            raise Damaged(
                f"{wrong} analyses are not what the custody log says. The originals are not affected."
            )
        self.stdout.write("Every stored detection is the one that the custody log vouches for.")

    def rescore(self, cases: list[Case]) -> None:
        """Score again."""
        for case in cases:
            for question in standing.open_questions(case):
                scored = standing.rescore(case, question)
                self.stdout.write(f"{case.code}, question {question}: {scored} items scored")

    def rebuild(self, cases: list[Case]) -> None:
        """Make every row again."""
        for case in cases:
            self.stdout.write(f"{case.code}: {tracks.rebuild(case)} objects followed in videos")
            self.stdout.write(f"{case.code}: {standing.rebuild(case)} items in order")

    def replay(self, case: Case | None, *, last: int, **_: Any) -> None:
        """Make the orders again by which the latest answers were shown."""
        ranks = replaying.stored_ranks(last, case)
        wrong = 0
        for where, fault in replaying.faults(ranks):
            wrong += 1
            self.stdout.write(f"{where}: {fault}")
        if wrong:
            raise Damaged(
                f"{wrong} differences in {len(ranks)} stored ranks. The originals are not affected."
            )
        self.stdout.write(f"{len(ranks)} stored ranks made again: the same order, scores and reasons.")

    def unusual(self, cases: list[Case]) -> None:
        """Make the comparisons that count again."""
        wrong = 0
        for stored in filter(None, map(unusual.newest, cases)):
            for fault in unusual.faults(stored):
                wrong += 1
                self.stdout.write(f"{stored.case.code}, comparison {stored.number}: {fault}")
        if wrong:
            raise Damaged(
                f"{wrong} differences. The originals are not affected; a new comparison replaces these."
            )
        self.stdout.write("Every comparison that counts was made again: the same vectors and scores.")

    def near(self, cases: list[Case]) -> None:
        """Make fingerprints and groups again."""
        for case in cases:
            self.stdout.write(f"{case.code}: {near.rebuild(case)} items with a fingerprint")

    def again(self, cases: list[Case]) -> None:
        """Queue analyses."""
        for case in cases:
            self.stdout.write(f"{case.code}: {pipeline.ask_again(case, actor=Actor.operator())} items queued")
            if pictures_shown := pictures.look_again(case):
                self.stdout.write(f"{case.code}: {pictures_shown} pictures shown as examples queued")
            if words_shown := phrases.read_again(case):
                self.stdout.write(f"{case.code}: {words_shown} words shown as examples queued")
        if notice := registry.notice():
            self.stdout.write(notice)

    def index(self, what: str) -> None:
        """Make the index for similar items anew, or say how it stands beside the stored vectors."""
        if what == "rebuild":
            of, number = similar.rebuild()
            self.stdout.write(
                f"{number} vectors of {of.model}, {of.analyser} {of.version}"
                if of
                else "There are no vectors yet."
            )
            return
        told = similar.check()
        if told is None:
            self.stdout.write("There are no vectors yet, and no index.")
            return
        self.stdout.write(
            f"{told.held} vectors of {told.of.model}, {told.of.analyser} {told.of.version}; of the 10 nearest to "
            f"{told.asked} of them it finds {told.recall:.1%}"
        )
        if not told.sound:
            raise Damaged(
                f"{told.missing} vectors are missing, {told.surplus} should not be there, {told.misplaced} stand under another "
                "case. Nothing of the items is affected. Run: manage.py triage index rebuild"
            )

    def train_clips(self, case: str | None, *, dataset: Path | None, question: int, **options: Any) -> None:
        """Learn from labelled clips."""
        if dataset is not None:
            labelled = training.from_folder(dataset, progress=self._progress)
        else:
            owner = Case.objects.filter(code=case).first()
            if owner is None:
                raise NotFound(f"There is no case {case}.")
            labelled = training.from_case(owner, question)
        chosen = {name: options[name] for name in ("out", "ordinary", "leave_out", "seed")}
        for line in training.text(training.train(labelled, **chosen, progress=self._progress)):
            self.stdout.write(line)

    def train_indicator(self, *, dataset: Path, positive: str, name: str, seed: int, **_: Any) -> None:
        """Learn what pictures of a kind look like."""
        today = timezone.localdate()
        told = indicating.train(
            dataset=dataset, positive=positive, name=name, seed=seed, today=today, progress=self._progress
        )
        for line in indicating.text(told):
            self.stdout.write(line)

    def _progress(self, name: str, done: int, total: int) -> None:
        if sys.stderr.isatty() or done == total:
            self.stderr.write(f"{name}: {done} of {total}", ending="\n" if done == total else "\r")

    def simulate(
        self, *, dataset: Path, positive: str, seeds: int, examples: int, json: bool, **_: Any
    ) -> None:
        """Replay a review with an oracle."""

        def progress(name: str, done: int, total: int) -> None:
            if sys.stderr.isatty() or done == total:
                end = "\n" if done == total else "\r"
                self.stderr.write(f"{name}: {done} of {total} pictures", ending=end)

        told = simulating.simulate(
            dataset=dataset, positive=positive, seeds=seeds, examples=examples, progress=progress
        )
        self.stdout.write(simulating.as_json(told) if json else simulating.text(told))
