"""A classifier of activities learned from a case's own videos that people answered a question about."""

import json
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.core.management import call_command

from archive import ingest, jobs
from archive.models import Acquisition, Decision
from tests import cast
from triage import analysers, pipeline, registry, review
from triage.models import Analysis, Tagged

pytestmark = [
    pytest.mark.embedded,
    pytest.mark.django_db(transaction=True),
    pytest.mark.weights,
    pytest.mark.slow,
]
FALLS = {"s1": ("s1_adl", "s1_fall"), "s3": ("s3_adl", "s3_fall")}


def run(*names: str) -> None:
    for name in names:
        while jobs.run_waiting(name):
            pass


def needed(entries):
    """Without the detectors inside OpenCV, which take long over videos."""
    return [one for one in analysers.plan(entries) if one.task in ("embed", "clip")]


def test_a_cases_answered_videos_become_a_classifier_that_runs(settings, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(jobs, "wake", lambda name: None)
    folder = Path(django_settings.MODEL_MIRROR).parent / "datasets" / "falls"
    if not folder.is_dir():
        pytest.skip("needs the labelled clips that lie beside the models")
    settings.MODELS_DIR, settings.TEXT_LANGUAGES = tmp_path / "models", ()
    monkeypatch.setattr(pipeline, "station", pipeline.Station(needed))
    (report,) = registry.pull(["mobilenet-v1-embedding"])
    assert not report.fault
    researcher = cast.person("researcher")
    case, actor = cast.case(owner=researcher), cast.signed_in(researcher)
    answers = {}
    for subject, kinds in FALLS.items():
        source = cast.source(case, code=subject)
        for kind in kinds:
            for path in sorted((folder / kind).glob("*.mp4"))[:1]:
                origin = ingest.Origin(Acquisition.Method.COMMAND, "test", path.name, source=source)
                with path.open("rb") as stream:
                    item = ingest.acquire(case=case, actor=actor, stream=stream, origin=origin).item
                answers[item] = (
                    Decision.Value.RELEVANT if kind.endswith("fall") else Decision.Value.NOT_RELEVANT
                )
    run("archive.examine", "triage.analyse")
    for item, value in answers.items():
        review.decide(item=item, actor=actor, value=value)

    out = tmp_path / "clips.safetensors"
    options = ("--ordinary", "other", "--leave-out", "s3")  # trained once
    call_command("triage", "train-clips", "--case", case.code, "--out", str(out), *options)
    card = json.loads(out.with_name(out.name + ".json").read_text())
    assert card["labelled"] == {"other": 2, "question 0": 2}
    assert [(group["group"], group["of"]) for group in card["measured"]["groups"]] == [("s3", 2)]
    assert "question 0" in capsys.readouterr().out
    call_command("models", "register", str(out))
    assert pipeline.ask_again(case, actor=actor) == 4
    run("triage.analyse")
    pipeline.station.close()
    assert Analysis.objects.filter(task="clip").count() == 4
    assert set(Tagged.objects.values_list("label", flat=True)) <= {"question 0"}, "the ordinary is never told"
