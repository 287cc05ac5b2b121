"""manage.py custody: verify, checkpoint, sequence, key, publish, prove, new-key, accept-restore, policy, paper"""

import json
import sys
import traceback
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError

from archive.custody import Actor
from archive.custody.notes import MAX_NOTE_BYTES
from archive.management.base import Command as Base

EXIT = {"good": 0, "bad": 1, "could not check": 3}


class Command(Base):
    """The custody log from the shell."""

    help = "Verify the custody log, sign its head, or print the key that signs it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        commands = parser.add_subparsers(dest="act", required=True)
        verify = commands.add_parser(
            "verify", help="walk all events; exit 0 good, 1 bad, 3 could not check everything"
        )
        verify.add_argument("--known", type=Path, help="a checkpoint that was kept elsewhere")
        verify.add_argument(
            "--policy",
            type=Path,
            help="a tlog-policy file: who must have cosigned (default: the instance's own)",
        )
        verify.add_argument(
            "--jobs", type=int, metavar="N", help="processes that share the work (default: all cores)"
        )
        verify.add_argument(
            "--resume",
            action="store_true",
            help="go on after an interrupted run; all is read and hashed again",
        )
        verify.add_argument("--json", action="store_true", help="print the report as JSON")
        checkpoint = commands.add_parser("checkpoint", help="sign the head (Ed25519) and print it")
        checkpoint.add_argument("--out", type=Path, help="also write it to this file, to be kept elsewhere")
        commands.add_parser(
            "sequence", help="give waiting events their position now (the worker does so by itself)"
        )
        commands.add_parser("key", help="print the public keys that sign checkpoints")
        publish = commands.add_parser("publish", help="write the log as a folder for any tlog-tiles client")
        publish.add_argument("dir", type=Path, metavar="DIR", help="a folder of its own; brought up to date")
        publish.add_argument(
            "--hashes-only",
            action="store_true",
            help="leave the events out (they name ids, times and hashes)",
        )
        prove = commands.add_parser("prove", help="print a proof against a checkpoint")
        prove.add_argument(
            "what",
            choices=["event", "history", "file", "consistency"],
            help="see docs/custody-log.md, Proofs",
        )
        prove.add_argument("names", nargs="+", help="POSITION | SUBJECT | SHA256 | OLD NEW")
        prove.add_argument("--at", type=int, metavar="SIZE", help="against the checkpoint of this size")
        new = commands.add_parser(
            "new-key", help="change the keys that sign checkpoints; the old ones sign for them"
        )
        new.add_argument(
            "--plugin", default="", metavar="PATH", help="take them from this plug-in, not from new files"
        )
        new.add_argument("--reason", default="", help="why; goes into the event as a commitment")
        accept = commands.add_parser(
            "accept-restore",
            help="after a restored backup: go on from a state older than what was signed last",
        )
        accept.add_argument("--reason", required=True, help="why; goes into the event as a commitment")
        commands.add_parser(
            "policy", help="print and check the policy, and judge the newest checkpoint by it"
        )
        paper = commands.add_parser("paper", help="print the newest checkpoint as a page for a safe")
        paper.add_argument("out", type=Path, metavar="OUT.pdf", help="the PDF to write")

    def work(self, *, act: str, **options: Any) -> None:
        getattr(self, act.replace("-", "_"))(**options)

    def verify(
        self,
        *,
        known: Path | None,
        policy: Path | None,
        jobs: int | None,
        resume: bool,
        json: bool,
        **_: Any,
    ) -> None:
        """Print what was checked and found. Whatever stops it is `could not check`, never `good`."""
        from archive.custody.verify import verify

        def progress(count: int) -> None:
            if sys.stderr.isatty():
                self.stderr.write(f"\r{count:,} events", ending="")

        texts = {"known": _read(known) if known else "", "policy": _read(policy) if policy else ""}
        try:
            report = verify(**texts, jobs=jobs, resume=resume, progress=progress)
        except Exception as error:  # noqa: BLE001 - whatever stops it is `could not check`
            traceback.print_exc()
            self.stdout.write(f"COULD NOT CHECK  It stopped: {error}\nAnswer: could not check.")
            sys.exit(EXIT["could not check"])
        if json:
            self.stdout.write(_as_json(report))
        else:
            self._print(report)
        if report.answer != "good":
            sys.exit(EXIT[report.answer])

    def _print(self, report: Any) -> None:
        self.stdout.write(
            f"{report.events:,} events of {report.subjects:,} subjects, {report.pending:,} pending; "
            f"{report.checkpoints:,} checkpoints, {report.cosignatures:,} cosignatures, {report.timestamps:,} timestamps; "
            f"{report.tiles:,} tiles; {report.maps:,} maps; {report.openings:,} openings; {report.rows:,} rows."
        )
        for fault in report.faults:
            more = report.counts[fault.kind] - 1
            tail = f" ({more:,} more of this kind)" if more else ""
            self.stdout.write(f"BAD  {fault.kind}: {fault.place}: {fault.sentence}{tail}")
        for what in report.remarks:
            self.stdout.write(f"NOTE  {what}")
        for what in report.unchecked:
            self.stdout.write(f"COULD NOT CHECK  {what}")
        self.stdout.write(f"Answer: {report.answer}.")

    def checkpoint(self, *, out: Path | None, **_: Any) -> None:
        """Publish what is recorded, and print the checkpoint with its cosignatures."""
        from archive.custody.anchors import cosigned_note
        from archive.custody.publish import publish

        note = cosigned_note(publish(actor=Actor.operator(), force=True))
        if out:
            out.write_text(note, encoding="utf-8")
        self.stdout.write(note, ending="")

    def publish(self, *, dir: Path, hashes_only: bool, **_: Any) -> None:
        """Publish what is recorded, and write it."""
        from archive.custody import publish_dir
        from archive.custody.publish import publish

        publish(actor=Actor.operator())
        row = publish_dir.write(dir, entries=not hashes_only)
        told = (
            ""
            if hashes_only
            else " The events name no person, but ids, times, file hashes and who has which role."
        )
        self.stdout.write(f"{row.size:,} events are in {dir}, under one checkpoint.{told}")

    def prove(self, *, what: str, names: list[str], at: int | None, **_: Any) -> None:
        """Print a proof: a tlog-proof file for an event, JSON for the others."""
        from archive.custody import showing

        self.stdout.write(showing.show(what, names, at=at), ending="")

    def sequence(self, **_: Any) -> None:
        """Sequence what waits."""
        from archive.custody.sequence import advance

        self.stdout.write(f"{advance():,} events sequenced and integrated.")

    def key(self, **_: Any) -> None:
        """Print the log's public keys as C2SP verifier keys, a line each."""
        from archive.custody.keychain import keys_in_force

        for key in keys_in_force().newest:
            self.stdout.write(str(key))

    def new_key(self, *, plugin: str, reason: str, **_: Any) -> None:
        """Change the log's keys, and print the new ones."""
        from archive.custody.keychain import new_key

        change = new_key(actor=Actor.operator(), plugin=plugin, reason=reason)
        for key in change.new:
            self.stdout.write(str(key))
        self.stderr.write(
            f"Checkpoints over more than {change.position:,} events bear these keys. Tell witnesses and whoever keeps "
            "checkpoints; the old keys signed for them in the log."
        )
        if plugin:
            self.stderr.write(f"Now set SIGNING_KMS={plugin} and restart: until then nothing can be signed.")
        elif settings.SIGNING_KMS:
            self.stderr.write("Now unset SIGNING_KMS and restart: until then nothing can be signed.")
        else:
            old = change.old[0].id.hex()
            self.stderr.write(
                f"The former key lies beside the new one as {settings.SIGNING_KEY_FILE.name}.{old}: destroy it once "
                "the change is under a witnessed checkpoint."
            )

    def accept_restore(self, *, reason: str, **_: Any) -> None:
        """Record that the log goes on from an older state, so that it can be signed again."""
        from archive.custody.last_signed import accept_restore

        aside = accept_restore(actor=Actor.operator(), reason=reason)
        self.stdout.write(
            f"Recorded. The checkpoint that was signed last now lies in {aside}: give it to whoever asks what was lost. "
            "Witnesses will refuse this log under its old name; see docs/custody-log.md, 'After a restore'."
        )

    def policy(self, **_: Any) -> None:
        """Print what the policy asks for, and what the newest checkpoint has of it. Exit 1 when that is not enough."""
        from archive.custody import anchors
        from archive.models import Checkpoint

        policy = anchors.own_policy()
        if policy is None:
            raise CommandError("There is no policy: AMPARO_POLICY_FILE names none.", returncode=2)
        for log in policy.logs:
            self.stdout.write(f"log {log.key.label} {log.url}".rstrip())
        for witness in policy.witnesses:
            self.stdout.write(f"witness {witness.name} {witness.key.label} {witness.url}".rstrip())
        for group in policy.groups:
            self.stdout.write(f"group {group.name}: {group.threshold} of {', '.join(group.members)}")
        age = f"at most {policy.greatest_age:,} s old" if policy.greatest_age else "of any age"
        self.stdout.write(f"quorum {policy.quorum or 'none'}, cosignatures {age}")
        newest = Checkpoint.objects.first()
        verdict = anchors.judge(newest) if newest else None
        if newest is None or verdict is None:
            self.stdout.write("No checkpoint was signed yet.")
            return
        for name, standing in verdict.witnesses.items():
            when = f", {verdict.times[name]:%Y-%m-%d %H:%M:%S} UTC" if name in verdict.times else ""
            self.stdout.write(f"{name}: {standing}{when}")
        for reason in verdict.reasons:
            self.stdout.write(reason)
        answer = "satisfies" if verdict.satisfied else "does not satisfy"
        self.stdout.write(f"The checkpoint over {newest.size:,} events {answer} the policy.")
        if not verdict.satisfied:
            sys.exit(1)

    def paper(self, *, out: Path, **_: Any) -> None:
        """Write the newest checkpoint as one page."""
        from archive import paper

        self.stdout.write(
            f"{paper.write(out)} is one page. Print it, sign it, and put it where nobody here can reach it."
        )


def _read(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(MAX_NOTE_BYTES + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{path} cannot be read: {error}", returncode=2) from error
    if not 0 < len(text) <= MAX_NOTE_BYTES:
        raise CommandError(f"{path} is empty, or larger than what it should be.", returncode=2)
    return text


def _as_json(report: Any) -> str:
    return json.dumps(
        {
            "answer": report.answer,
            "events": report.events,
            "pending": report.pending,
            "subjects": report.subjects,
            "checkpoints": report.checkpoints,
            "cosignatures": report.cosignatures,
            "timestamps": report.timestamps,
            "tiles": report.tiles,
            "maps": report.maps,
            "openings": report.openings,
            "rows": report.rows,
            "seconds": report.seconds,
            "faults": [vars(fault) for fault in report.faults],
            "counts": dict(report.counts),
            "unchecked": report.unchecked,
            "remarks": report.remarks,
        }
    )
