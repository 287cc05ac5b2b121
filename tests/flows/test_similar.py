"""Likeness with the real weights: from the file to the box that a person drew, through the confined process."""

import os
from pathlib import Path

import pytest
from django.core.management import call_command
from PIL import Image, ImageDraw

from archive import ingest, jobs
from archive.custody import Actor
from archive.models import Item
from tests import cast
from triage import parts, pipeline, similar

MODEL = "mobilenet-v1-embedding"
MIRROR = Path(os.environ.get("MODEL_MIRROR", ""))

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.embedded,
    pytest.mark.skipif(
        not MIRROR.name or not (MIRROR / "mobilenet_v1_1.0_224_quant_embedding_extractor.tflite").exists(),
        reason="MODEL_MIRROR has no embedder",
    ),
]


@pytest.fixture
def ready(settings, tmp_path, monkeypatch):
    """One embedder, an index of this test's own, and nobody who is woken."""
    monkeypatch.setattr(jobs, "wake", lambda name: None)
    settings.MODEL_MIRROR, settings.MODELS_DIR = str(MIRROR), tmp_path / "models"
    settings.INDEX_DIR = tmp_path / "index"
    call_command("models", "pull", MODEL, verbosity=0)
    yield tmp_path
    pipeline.station.close()


def stripes(draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int]) -> None:
    for x in range(box[0], box[2], 24):
        draw.rectangle((x, box[1], x + 11, box[3]), fill="black")


def rings(draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int]) -> None:
    for inset in range(0, (box[2] - box[0]) // 2, 20):
        draw.ellipse((box[0] + inset, box[1] + inset, box[2] - inset, box[3] - inset), outline="red", width=8)


def picture(folder: Path, name: str, *parts: tuple) -> None:
    sheet = Image.new("RGB", (640, 320), "white")
    for paint, box in parts:
        paint(ImageDraw.Draw(sheet), box)
    sheet.save(folder / name, quality=90)


def test_a_box_is_cut_out_in_the_confined_process_and_finds_what_it_shows(ready):
    whole, left, right = (0, 0, 639, 319), (0, 0, 319, 319), (320, 0, 639, 319)
    folder = ready / "material"
    folder.mkdir()
    picture(folder, "both.jpg", (stripes, left), (rings, right))
    picture(folder, "stripes.jpg", (stripes, whole))
    picture(folder, "rings.jpg", (rings, left), (rings, right))
    (folder / "clip.mp4").write_bytes(cast.mp4(2))
    person = cast.person()
    case = cast.case(owner=person)
    for found in ingest.find_files([folder], recursive=True).files:
        ingest.acquire_file(case=case, actor=Actor.operator(), found=found, tool="test")
    for name in ("archive.examine", "triage.analyse", "triage.index"):
        jobs.run_waiting(name)
    items = {item.file_name: item for item in Item.objects.filter(case=case)}
    assert similar.check().sound and similar.check().recall == 1

    def nearest(part) -> str:
        vector = parts.vector_of_part(part)
        matches = similar.search_like(vector, user=person, but=part.item)
        return next(name for name, item in items.items() if item.pk == matches[0].item)

    drawn = {
        "stripes.jpg": parts.look_for(item=items["both.jpg"], box=(0, 0, 0.5, 1)),
        "rings.jpg": parts.look_for(item=items["both.jpg"], box=(0.5, 0, 0.5, 1)),
    }
    moment = parts.look_for(item=items["clip.mp4"], box=(0, 0, 1, 1), at_ms=1000)
    jobs.run_waiting("triage.look_at_part")
    assert [nearest(part) for part in drawn.values()] == list(drawn)
    frame = similar.vector_of(items["clip.mp4"], 1000).astype(float)
    assert parts.vector_of_part(moment).astype(float) @ frame > 0.99, (
        "the same frame, whichever way it was reached"
    )
