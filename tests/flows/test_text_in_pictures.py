"""Words that stand in a picture: read by a machine, found by search, scored by a rule, shown as a suggestion."""

import io

import pytest
from django.urls import reverse
from PIL import Image, ImageDraw, ImageFont

from archive import jobs, search
from archive.models import Item, Words
from config.checks import languages_are_known
from tests import cast
from triage import analysers, pipeline, queue, registry
from triage.models import Analysis, ReadText

pytestmark = [pytest.mark.embedded, pytest.mark.django_db]

FONT = "/usr/share/fonts/truetype/dejavu/DejaVuSans-Bold.ttf"  # of the package fonts-dejavu-core
ENGLISH, ARABIC = "HOSPITAL", "محطة القطار"


@pytest.fixture
def reader_installed(settings, tmp_path, monkeypatch):
    """The reader's languages, out of the distribution's packages or the mirror, and a model process of this test's own."""
    monkeypatch.setattr(jobs, "wake", lambda name: None)
    settings.MODELS_DIR = tmp_path / "models"
    (report,) = registry.pull([registry.READER])
    if report.fault:
        pytest.fail(report.fault)
    yield
    pipeline.station.close()


def street(*words: str) -> bytes:
    """A plain picture with words painted on it, one below the other."""
    picture = Image.new("RGB", (1200, 900), (225, 220, 205))
    draw, font = ImageDraw.Draw(picture), ImageFont.truetype(FONT, 56)
    for n, word in enumerate(words):
        draw.text((300, 75 + 200 * n), word, font=font, fill=(20, 20, 60))
    kept = io.BytesIO()
    picture.save(kept, "JPEG", quality=90)
    return kept.getvalue()


def run(name: str) -> None:
    while jobs.run_waiting(name):
        pass


@pytest.mark.weights
def test_words_in_a_picture_are_found_scored_and_shown(reader_installed, client):
    researcher = cast.person("researcher")
    actor, case = cast.signed_in(researcher), cast.case(owner=researcher)
    rule = {"name": "A clinic by its sign", "kind": "written", "words": ["hospital"], "where": "pictures"}
    rules = {"format": 1, "criteria": [{**rule, "weight": "3"}]}
    pipeline.set_criteria(case=case, actor=actor, name="Clinics", rules=rules)
    items = {
        name: cast.acquire(case, street(*words), name=name).item
        for name, words in {"signs.jpg": (ENGLISH, ARABIC), "none.jpg": ()}.items()
    }
    for name in ("archive.examine", "triage.analyse", "triage.index", "triage.rescore"):
        run(name)
    signs = items["signs.jpg"]

    analysis = Analysis.objects.get(item=signs, task="text")
    assert (analysis.analyser, analysis.model) == ("text-tesseract", "tesseract-fast")
    assert analysis.parameters["languages"] == "eng+ara"
    assert analysis.parameters["library"].startswith("Tesseract 5.")
    assert set(analysis.parameters["files"]) == {"eng.traineddata", "ara.traineddata"}
    english, arabic = ReadText.objects.filter(analysis=analysis).order_by("y")
    assert (english.text, arabic.text) == (ENGLISH, ARABIC), "letters of both scripts in the order of reading"
    assert 0.2 < english.x < 0.3 and 0.05 < english.y < 0.15 and english.confidence >= analysis_threshold()
    assert not ReadText.objects.exclude(analysis=analysis).exists(), "nothing is read where nothing stands"
    assert list(pipeline.faults(case)) == []

    for asked in ("hospital", ARABIC):
        assert list(search.found(Item.objects.all(), asked, [Words.Origin.READ])) == [signs]
    (reason,) = queue.stands(signs).reasons
    assert reason["machine"] and reason["contribution"] == "3.000"
    assert queue.stands(items["none.jpg"]).reasons == []

    client.force_login(researcher)
    page = client.get(reverse("review-item", args=[signs.pk])).content.decode()
    assert "Words read in the picture (machine suggestions)" in page and "read in it: hospital" in page
    assert (
        "suggests nothing" not in page and f"“{ENGLISH}”" in page and "tesseract-fast, Tesseract 5." in page
    )


def analysis_threshold() -> float:
    return float(registry.own()[registry.READER].thresholds["score"])


@pytest.mark.weights
def test_settings_say_which_languages_are_read(reader_installed, settings):
    assert "tesseract" not in registry.notice().lower()
    settings.TEXT_LANGUAGES = ("eng",)
    (reader,) = [a for a in analysers.plan(registry.in_use()) if a.name == "text-tesseract"]
    assert reader.parameters["languages"] == "eng" and len(reader.model.files) == 1

    settings.TEXT_LANGUAGES = ("eng", "urd")
    assert "text-tesseract" not in [a.name for a in analysers.plan(registry.in_use())]
    settings.TEXT_LANGUAGES = ()
    assert "text-tesseract" not in [a.name for a in analysers.plan(registry.in_use())]
    assert "Tesseract" not in registry.notice(), "what is turned off is not missed"

    settings.TEXT_LANGUAGES = ("eng", "tlh")
    (fault,) = languages_are_known(None)
    assert fault.id == "amparo.E015" and "tlh" in fault.msg
