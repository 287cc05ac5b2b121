"""From a drawn box to a bundle without the original: people confirm and approve, a court's expert verifies."""

import json
import subprocess
import sys

import pytest

from archive import access, jobs
from archive.custody import Actor
from archive.models import Job
from evidence import bundle
from evidence.redaction import verbs
from tests import cast

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


@pytest.mark.django_db(transaction=True)
def test_bundle_of_an_approved_redaction_verifies_and_says_who_approved(tmp_path):
    drawer, approver = cast.person("researcher"), cast.person("legal")
    case = cast.case(code="RED-1")
    for person in (drawer, approver):
        cast.share(case, person, access.MANAGE)
    item = cast.item(case)
    work()
    item.refresh_from_db()
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
        made = bundle.export(case=case, out=out, actor=Actor.operator(), files=files)
        command = [sys.executable, "-I", str(bundle.VERIFIER), str(out), "--key", made.key]
        ran = subprocess.run(command, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stdout
        assert words in ran.stdout
