"""An item that was disposed of still goes out with its history: the bundle verifies, and says that the bytes are gone."""

import json
import subprocess
import sys

import pytest

from archive import access, disposal, jobs
from archive.custody import Actor
from evidence import bundle, report
from evidence.bundle import VERIFIER
from tests import cast
from tests.flows.test_bundle import blank


@pytest.mark.django_db(transaction=True)
def test_a_bundle_with_a_disposed_item_verifies_and_holds_its_certificate_event(tmp_path, monkeypatch):
    monkeypatch.setattr(report._Maker, "_print", blank)  # printing takes seconds
    asker, lawyer = cast.person("researcher"), cast.person("legal")
    case = cast.case(owner=asker)
    cast.share(case, lawyer, access.MANAGE)
    gone, held = cast.item(case, name="gone.jpg"), cast.item(case, name="held.jpg")
    jobs.run_waiting("archive.examine")
    found = disposal.request(
        case=case, actor=cast.signed_in(asker), items=[gone.pk], reason="Consent ended", authority="Rule 4"
    )
    disposal.approve(disposal=found, actor=cast.signed_in(lawyer))
    jobs.run_waiting("archive.dispose")
    out = tmp_path / "out"
    bundle.export(case=case, out=out, actor=Actor.operator(), reason="For the court")
    command = [sys.executable, "-I", VERIFIER, out, "--key", bundle.fingerprint()]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    originals = [path.name for path in (out / "data" / "originals").rglob("*") if path.is_file()]
    assert originals == ["held.jpg"], held
    events = [json.loads(line) for line in (out / "data/custody/events.jsonl").read_text().splitlines()]
    told = [e for e in events if e["subject"] == gone.custody_subject() and e["type"] == "item.disposed"]
    assert told[0]["payload"]["original"] == {"bytes": "destroyed", "sha256": gone.sha256, "size": gone.size}
