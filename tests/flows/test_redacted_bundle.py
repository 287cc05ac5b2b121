"""From a drawn box to a bundle without the original: people confirm and approve, a court's expert verifies."""

import json
import subprocess
import sys
from decimal import Decimal

import pytest
from django.db import transaction
from django.utils import timezone

from archive import access, custody, jobs
from archive.custody import Actor
from archive.models import Job
from evidence import bundle
from evidence.disclosure import DEFAULT
from evidence.redaction import verbs
from tests import cast
from triage import stored
from triage.models import Analysis
from triage.results import Caption, Looked, Words

BOX = {
    "id": "d1",
    "kind": "other",
    "fill": "solid",
    "state": "confirmed",
    "from_ms": None,
    "to_ms": None,
    "keys": [{"at_ms": None, "box": ["0.25000", "0.25000", "0.25000", "0.25000"]}],
}


def work() -> None:
    for name in sorted(set(Job.objects.values_list("name", flat=True))):
        jobs.run_waiting(name)


PLATE, SENTENCE = "KA 1234 BX", "a woman beside a car"


def read(item) -> None:
    """What a reader of text found in the picture, and what a captioner wrote about it, as the pipeline stores it."""
    box = tuple(Decimal(n) for n in ("0.30000", "0.30000", "0.10000", "0.10000"))
    keep(item, "text", Looked("reader", (0,), words=(Words(0, PLATE, Decimal("0.9000"), box),)))
    keep(item, "caption", Looked("writer", (0,), captions=(Caption(0, SENTENCE, Decimal("0.5000")),)))


def keep(item, task: str, looked: Looked) -> None:
    facts = {"task": task, "analyser": looked.analyser, "version": 1, "model": "a model"}
    facts |= {"recipe": task.ljust(64, "0"), "parameters": {"language": "en"}}
    facts |= {"frames": 1, "looked_at_ms": [0], "found": looked.count, "result_sha256": looked.sha256}
    facts |= {"started_at": timezone.now(), "finished_at": timezone.now()}
    with transaction.atomic(durable=True):
        analysis = custody.write(
            Analysis(item=item, **facts), event="item.analysed", actor=Actor.system("worker")
        )
        stored.put(analysis, looked)


@pytest.mark.django_db(transaction=True)
@pytest.mark.embedded
def test_bundle_of_an_approved_redaction_verifies_and_says_who_approved(tmp_path):
    drawer, approver = cast.person("researcher"), cast.person("legal")
    case = cast.case(code="RED-1")
    for person in (drawer, approver):
        cast.share(case, person, access.MANAGE)
    item = cast.item(case)
    work()
    item.refresh_from_db()
    read(item)
    redaction = verbs.begin(item=item, actor=cast.signed_in(drawer))
    document = json.loads(json.dumps(redaction.draft)) | {"regions": [BOX]}
    redaction = verbs.confirm(
        redaction=redaction, actor=cast.signed_in(drawer), untrusted=document, seen=redaction.draft_sha256
    )
    work()
    redaction.refresh_from_db()
    second = cast.signed_in(approver)
    verbs.look(redaction=redaction, actor=second)
    redaction.refresh_from_db()
    verbs.approve(redaction=redaction, actor=second, statement="I looked at every part of it.")
    for files, words in (("both", "1 originals and 1 redacted"), ("redacted", "0 originals and 1 redacted")):
        out = tmp_path / files
        groups = (*DEFAULT, "captions")
        made = bundle.export(case=case, out=out, actor=Actor.operator(), files=files, disclosed=groups)
        command = [sys.executable, "-I", str(bundle.VERIFIER), str(out), "--key", made.key]
        ran = subprocess.run(command, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stdout
        assert words in ran.stdout
        said = b"".join(
            f.read_bytes() for f in out.rglob("*") if f.suffix in (".json", ".csv", ".txt", ".xml", ".jsonld")
        )
        for words in (PLATE, SENTENCE):
            assert (words.encode() in said) == (files == "both"), "what was covered must not be told in words"
