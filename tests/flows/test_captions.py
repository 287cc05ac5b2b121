"""A mirrored captioner from its registration to its sentences: shown, found, scored and given out as suggestions only."""

import io
import json
import subprocess
import sys

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.urls import reverse

from archive import jobs, search
from archive.custody import Actor
from archive.models import CustodyEvent, Item, Words
from evidence import bundle
from evidence.disclosure import DEFAULT, WITHHELD
from tests import cast
from tests.captioning import FOLDER, SAID
from triage import captions, pipeline, preview, questions, queue, registry
from triage.models import Analysis, Caption, ReadText

pytestmark = [pytest.mark.embedded, pytest.mark.django_db(transaction=True), pytest.mark.slow]
NAME = "picture-1.png"


def models(*arguments: str) -> str:
    out = io.StringIO()
    call_command("models", *arguments, stdout=out)
    return out.getvalue()


def register() -> str:
    about = (
        "--name",
        "drawn",
        "--language",
        "en",
        "--licence",
        "AGPL-3.0-or-later",
        "--source",
        "tests/vectors",
    )
    return models("register-captioner", str(FOLDER), *about)


def run(*names: str) -> None:
    for name in names:
        while jobs.run_waiting(name):
            pass


@pytest.fixture
def home(settings, tmp_path, monkeypatch):
    """No weights, and a model process of this test's own."""
    monkeypatch.setattr(jobs, "wake", lambda name: None)
    settings.MODELS_DIR, settings.TEXT_LANGUAGES = tmp_path / "models", ()
    yield tmp_path
    pipeline.station.close()


def test_a_captioner_is_tried_promoted_shown_found_scored_and_withheld(home, client):
    assert "models promote caption-drawn" in register()
    assert "caption-drawn  installed" in models("list") and "candidate" in models("list")
    assert "caption-drawn: in use" in models("promote", "caption-drawn")
    assert "caption-drawn  runs" in models("list")
    with pytest.raises(CommandError, match="in use"):
        register()
    told = CustodyEvent.objects.filter(type="system.model_staged").get()
    assert json.loads(bytes(told.canonical))["payload"]["model"] == "caption-drawn"

    researcher = cast.person("researcher")
    case = cast.case(owner=researcher)
    cast.acquire(case, (FOLDER / "picture-3.png").read_bytes(), name="b.png")  # a green cross
    item = cast.acquire(case, (FOLDER / NAME).read_bytes(), name="a.png").item
    run("archive.examine", "triage.analyse", "triage.index")
    analysis = Analysis.objects.get(item=item, task="caption")
    assert (analysis.analyser, analysis.model, analysis.version) == ("caption-drawn", "caption-drawn", 1)
    assert analysis.parameters["language"] == "en" and analysis.parameters["decoding"] == "greedy"
    assert set(analysis.parameters["files"]) == set(captions.FILES)
    assert analysis.parameters["library"].startswith("OpenVINO 2")
    assert [(one.text, one.at_ms) for one in Caption.objects.filter(analysis=analysis)] == [(SAID[NAME], 0)]
    assert Caption.objects.count() == 2
    assert not ReadText.objects.exists() and list(pipeline.faults(case)) == []

    assert list(search.found(Item.objects.all(), "red square", [Words.Origin.CAPTION])) == [item]
    assert search.where([item], "red square") == {item.pk: ["caption"]}
    assert not search.found(
        Item.objects.all(), "red square", [*search.BY_MACHINE, *search.BY_PEOPLE]
    ).exists()

    rules = {"format": 1, "criteria": [{"name": "Red", "kind": "caption", "words": ["Red"], "weight": "2"}]}
    moved = preview.of(question=questions.numbered(case, 0), rules=rules)
    assert (moved.looked, moved.up) == (2, 1), "a preview shows what the sentences would move"
    pipeline.set_criteria(case=case, actor=cast.signed_in(researcher), name="Red", rules=rules)
    run("triage.rescore")
    (reason,) = queue.stands(item).reasons
    assert reason["machine"] and (reason["contribution"], reason["why"]) == (
        "2.000",
        "a model's caption says: Red",
    )

    client.force_login(researcher)
    page = client.get(reverse("review-item", args=[item.pk])).content.decode()
    assert f'<span class="machine-text" lang="en" dir="auto">{SAID[NAME]}</span>' in page
    assert f'Likely behind it, a suggestion: <bdi lang="en">{SAID[NAME]}</bdi>' in page.replace("</span>", "")
    assert "Captions by a model (machine suggestions)" in page and "caption-drawn, OpenVINO 2" in page
    found = client.get(
        reverse("library", args=[case.code]), {"q": "red square", "in": "caption"}
    ).content.decode()
    assert "machine caption" in found and "a.png" in found

    for groups, given in ((DEFAULT, False), ((*DEFAULT, "captions"), True)):
        out = home / f"bundle-{given}"
        made = bundle.export(case=case, out=out, actor=Actor.operator(), items=[item.pk], disclosed=groups)
        command = [sys.executable, "-I", str(bundle.VERIFIER), str(out), "--key", made.key]
        ran = subprocess.run(command, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stdout
        rows = json.loads((out / "data" / "detections.json").read_text())
        (row,) = [row for row in rows if row["task"] == "caption"]
        assert (row["result"] != WITHHELD) == given
        files = [
            f.read_bytes() for f in out.rglob("*") if f.suffix in (".json", ".csv", ".txt", ".xml", ".jsonld")
        ]
        assert any(SAID[NAME].encode() in said for said in files) == given


def test_a_pair_that_cannot_be_opened_stays_a_candidate(home):
    register()
    folder = registry.folder() / "caption-drawn"
    bad = folder / captions.DECODER
    bad.chmod(0o644)
    bad.write_bytes((FOLDER / captions.ENCODER).read_bytes())
    with pytest.raises(CommandError, match="Register caption-drawn again"):
        models("promote", "caption-drawn")
    mirror = home / "mirror"
    mirror.mkdir()
    for name in captions.FILES:
        (mirror / name).write_bytes((FOLDER / name).read_bytes())
    (mirror / captions.DECODER).write_bytes((FOLDER / captions.ENCODER).read_bytes())
    about = ("--name", "odd", "--language", "en", "--licence", "x", "--source", "x")
    models("register-captioner", str(mirror), *about)
    with pytest.raises(CommandError, match="could not be opened"):
        models("promote", "caption-odd")
    assert registry.trained()["caption-odd"].stage == registry.CANDIDATE
