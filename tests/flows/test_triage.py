"""The main job's middle: real files come in, a model orders them, and every suggestion is vouched for by the log."""

import importlib.util
import io
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from archive import custody, ingest, jobs
from archive.errors import MediaError
from archive.models import CustodyEvent, Item, Job
from tests import cast
from triage import pipeline, queue, registry, standing
from triage.models import Analysis, Detection, Standing, Vector
from triage.runtimes.process import ModelProcess

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """Jobs are run here, one after the other; nobody is woken."""
    monkeypatch.setattr(jobs, "wake", lambda name: None)


@pytest.fixture
def models(settings, tmp_path):
    """An empty folder for weights, and a model process of this test's own."""
    settings.MODELS_DIR = tmp_path / "models"
    yield settings.MODELS_DIR
    pipeline.station.close()


@pytest.fixture
def reader():
    return cast.person("researcher")


@pytest.fixture
def case(reader):
    return cast.case(owner=reader)


def photograph(name: str) -> bytes:
    package = Path(importlib.util.find_spec("ultralytics").origin).parent
    return (package / "assets" / name).read_bytes()


def take_in(case, folder: Path) -> dict[str, Item]:
    listing = ingest.find_files([folder], recursive=True)
    for found in listing.files:
        ingest.acquire_file(case=case, actor=custody.Actor.operator(), found=found, tool="test")
    run("archive.examine")
    return {item.file_name: item for item in Item.objects.filter(case=case)}


def current_of(item: Item) -> dict[str, Analysis]:
    return standing.current_analyses([item.pk])[item.pk]


def run(name: str) -> None:
    while jobs.run_waiting(name):
        pass


@pytest.fixture
def material(tmp_path):
    folder = cast.media_folder(tmp_path / "material")
    (folder / "bus.jpg").write_bytes(photograph("bus.jpg"))
    (folder / "notes.txt").write_text("What the witness said.")
    return folder


def test_everything_that_came_in_has_a_place_and_a_reason(models, case, reader, material):
    """Guards promise: what no model could read is counted and shown, never at the end of a list without a word."""
    items = take_in(case, material)
    run("triage.analyse")
    states = {name: queue.stands(item).state for name, item in items.items()}
    assert states == {
        "bus.jpg": "scored",
        "photo.jpg": "scored",
        "clip.mp4": "scored",
        "empty.jpg": states["empty.jpg"],
        "corrupt.jpg": states["corrupt.jpg"],
        "disguised.jpg": "not_pictures",
        "notes.txt": "not_pictures",
    }
    assert states["empty.jpg"] in ("unreadable", "not_pictures")
    for name, state in states.items():
        analysed = Analysis.objects.filter(item=items[name]).count()
        assert analysed == (3 if state == "scored" else 0), name
        assert bool(queue.stands(items[name]).why_unscored) == (state != "scored")
    assert not Job.objects.filter(name="triage.analyse").exclude(state="done").exists()
    shown = [row.item.file_name for row in queue.order(case, reader).rows]
    assert shown[0] == "bus.jpg" and sorted(shown) == sorted(items)
    assert registry.notice().startswith("No model weights installed")
    assert Detection.objects.filter(analysis__item=items["bus.jpg"], label="person").exists()


def test_each_analysis_is_in_the_custody_log_with_model_parameters_and_result(models, case, material):
    item = take_in(case, material)["bus.jpg"]
    run("triage.analyse")
    analysis = Analysis.objects.get(item=item, task="detect")
    bodies = [
        bytes(e.canonical)
        for e in CustodyEvent.objects.filter(subject=item.custody_subject(), type="item.analysed")
    ]
    (body,) = [b for b in bodies if b'"analyser":"opencv-people"' in b]
    for part in (
        analysis.result_sha256,
        "OpenCV HOG people detector, OpenCV 4.",
        '"original":"' + item.sha256,
        '"score":"0.60"',
    ):
        assert part.encode() in body
    assert list(pipeline.faults(case)) == []
    Detection.objects.filter(analysis=analysis).update(label="car")
    ((faulty, words),) = pipeline.faults(case)
    assert faulty == analysis and "hash" in words
    with pytest.raises(CommandError, match="custody log"):
        call_command("triage", "check", stdout=io.StringIO())


def test_a_second_run_stores_nothing_twice(models, case, material):
    item = take_in(case, material)["bus.jpg"]
    run("triage.analyse")
    before = (
        Analysis.objects.count(),
        Detection.objects.count(),
        CustodyEvent.objects.count(),
        queue.stands(item).points,
    )
    jobs.enqueue("triage.analyse", subject=item, once=True)
    run("triage.analyse")
    assert before == (
        Analysis.objects.count(),
        Detection.objects.count(),
        CustodyEvent.objects.count(),
        queue.stands(item).points,
    )


def test_stored_reasons_are_those_of_the_rules_and_can_be_made_again(models, case, material):
    items = take_in(case, material)
    run("triage.analyse")
    before = list(
        Standing.objects.filter(case=case).order_by("pk").values("points", "reasons", "state", "band")
    )
    Standing.objects.filter(case=case).delete()
    assert standing.rebuild(case) == len(items)
    after = list(
        Standing.objects.filter(case=case).order_by("pk").values("points", "reasons", "state", "band")
    )
    scored = [row for row in before if row["state"] == "scored"]
    assert scored == [row for row in after if row["state"] == "scored"] and len(after) == len(before)


@pytest.mark.embedded
def test_an_item_on_which_the_model_dies_stops_alone_with_the_reason_in_sight(
    models, case, material, monkeypatch
):
    items = take_in(case, material)
    bad = items["bus.jpg"].pk
    real = ModelProcess.look_together

    def look_together(self, works):
        """Kill the process whenever it is on the bad item."""
        keys = {row.pk: row.item_id for row in Job.objects.filter(name="triage.analyse")}
        for outcomes in real(self, works):
            yield [type(one)(one.work, code="died") if keys[one.work.key] == bad else one for one in outcomes]

    monkeypatch.setattr(ModelProcess, "look_together", look_together)
    for _ in range(jobs.KINDS["triage.analyse"].attempts):
        Job.objects.filter(name="triage.analyse", state="queued").update(run_after="2026-01-01T00:00Z")
        jobs.run_waiting("triage.analyse")
    failed = Job.objects.get(name="triage.analyse", state="failed")
    assert failed.item_id == bad and failed.attempts == 3 and "died on this item" in failed.error
    assert (
        queue.stands(items["bus.jpg"]).state == "failed"
        and "died" in queue.stands(items["bus.jpg"]).why_unscored
    )
    assert queue.counts(case).failed == 1 and queue.counts(case).scored == 2


def test_an_item_whose_result_cannot_be_stored_costs_no_other_its_own(models, case, material, monkeypatch):
    """Guards promise: results are stored together, and each is stored by itself where that fails."""
    items = take_in(case, material)
    real = pipeline.stored.put_all

    def put_all(pairs):
        pairs = list(pairs)
        if any(analysis.item_id == items["bus.jpg"].pk for analysis, _ in pairs):
            raise ValueError("no such column")
        real(pairs)

    monkeypatch.setattr(pipeline.stored, "put_all", put_all)
    jobs.run_waiting("triage.analyse", most=1)
    bad = Job.objects.get(name="triage.analyse", state="queued")
    assert (bad.item_id, bad.error) == (items["bus.jpg"].pk, "ValueError: no such column")
    assert not Analysis.objects.filter(item=items["bus.jpg"]).exists()
    assert not CustodyEvent.objects.filter(subject=bad.item.custody_subject(), type="item.analysed").exists()
    states = {name: queue.stands(item).state for name, item in items.items()}
    assert (states["bus.jpg"], states["photo.jpg"], states["clip.mp4"]) == ("waiting", "scored", "scored")
    assert list(pipeline.faults(case)) == []


def test_bytes_that_cannot_be_read_back_are_said_on_the_job(models, case, material, monkeypatch):
    items = take_in(case, material)

    def broken(sha256):
        raise MediaError("The vault cannot give these bytes.")

    monkeypatch.setattr(pipeline.vault, "open", broken)
    jobs.run_waiting("triage.analyse", most=1)
    waiting = Job.objects.get(name="triage.analyse", item=items["bus.jpg"])
    assert (waiting.state, waiting.error) == ("queued", "The vault cannot give these bytes.")


@pytest.mark.weights
@pytest.mark.embedded
def test_with_the_real_weights_the_order_is_theirs(models, case, reader, material, settings):
    if not settings.MODEL_MIRROR:
        pytest.skip("set MODEL_MIRROR to the folder with the real weights")
    items = take_in(case, material)
    run("triage.analyse")
    out = io.StringIO()
    call_command("models", "pull", stdout=out)
    call_command("models", "verify", stdout=out)
    assert "yolo11n-int8-openvino: verified" in out.getvalue() and registry.notice() == ""
    assert CustodyEvent.objects.filter(type="system.models_pulled").count() == 5

    assert pipeline.ask_again(case, actor=cast.signed_in(reader)) == 3
    run("triage.analyse")
    current = current_of(items["bus.jpg"])
    assert current["detect"].model == "yolo11n-int8-openvino"
    assert current["detect"].weights_sha256 == registry.models()["yolo11n-int8-openvino"].sha256
    labels = [d.label for d in current["detect"].detections.all()]
    assert labels.count("person") == 4 and labels.count("bus") == 1
    reasons = {r["criterion"]: r["contribution"] for r in queue.stands(items["bus.jpg"]).reasons}
    assert reasons["People seen"] == "1.000" and reasons["Person and vehicle in one frame"] == "1.000"
    assert Analysis.objects.filter(item=items["bus.jpg"]).count() == 10, "what was looked at before stays"
    told = current["indicator-metadata"]
    assert told.found == 0 and len(told.parameters["facts_sha256"]) == 64 and told.frames == 0
    (tag,) = current["mobilenet-v2-tags"].tags.all()
    assert tag.label == "police van" and tag.at_ms == 0 and tag.until_ms is None
    held = {seen.label: seen.most_at_once for seen in items["bus.jpg"].seen.all()}
    assert held == {"person": 4, "bus": 1, "face": held["face"], "police van": 0}
    whole = Vector.objects.filter(analysis__item__case=case, whole=True)
    widths = {"mobilenet-v1": 1024, "mobilenet-v2": 1280, "yolo11n": 256}
    assert {(v.analysis.analyser, len(v.values) // 2) for v in whole} == set(widths.items())
    assert whole.count() == 3 * len(widths), "a picture's one, and the mean of a video's frames"
    clip = current_of(items["clip.mp4"])["mobilenet-v1"].vectors
    assert clip.filter(whole=False).count() > 1 and clip.filter(whole=True).count() == 1
    assert pipeline.ask_again(case, actor=cast.signed_in(reader)) == 0
    assert list(pipeline.faults(case)) == []


@pytest.mark.embedded
def test_the_demo_is_loaded_once_and_says_what_it_is(models, settings):
    first, second = io.StringIO(), io.StringIO()
    call_command("demo", stdout=first)
    made = Item.objects.filter(case__code="DEMO-01")
    assert made.count() == 6 and made.first().case.is_demo
    assert (
        "emonstration" in made.first().case.title
        and "Nothing here documents a real event" in made.first().case.mandate
    )
    assert [line.split()[0] for line in first.getvalue().splitlines()] == [
        "administrator",
        "researcher",
        "reviewer",
        "legal",
        "data_scientist",
        "observer",
    ]
    events = CustodyEvent.objects.count()
    call_command("demo", stdout=second)
    assert second.getvalue() == "" and CustodyEvent.objects.count() == events
    assert list(Path(settings.SCRATCH_DIR).glob("demo-*")) == []
