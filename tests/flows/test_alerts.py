"""From bytes to alert by jobs alone: what a model has just looked at is told of, and how long that took is kept."""

import pytest

from archive import jobs
from archive.models import Decision
from tests import cast
from triage import alerts, pipeline, questions
from triage.models import Alert

pytestmark = pytest.mark.django_db


def run(*names: str) -> None:
    for name in names:
        while jobs.run_waiting(name):
            pass


def test_an_item_that_comes_in_is_told_of_once_a_model_has_looked(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "wake", lambda name: None)
    settings.MODELS_DIR = tmp_path / "models"
    reader = cast.person("researcher")
    case, actor = cast.case(owner=reader), cast.signed_in(reader)
    alerts.subscribe(
        case=case, question=questions.main(case), actor=actor, name="All", measure="points", least="-1000"
    )
    run("triage.alerts")
    item = cast.item(case, cast.jpeg(320, 240, seed=3))
    run("archive.examine", "triage.alerts")
    assert not Alert.objects.exists()
    try:
        run("triage.analyse", "triage.alerts")
    finally:
        pipeline.station.close()
    told = Alert.objects.get()
    assert told.item == item and told.waited_ms > 0
    assert alerts.waits(alerts.mine(reader).order_by()).last_s == told.waited_ms / 1000
    assert not Decision.objects.exists()
