"""Words for which pictures are looked for: a text tower of a plug-in reads them, and what fits them is a suggestion."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from archive import jobs
from archive.custody.verify import verify
from archive.errors import BadInput, Conflict, NotAllowed
from archive.models import CustodyEvent, Job
from tests import cast
from tests.unit.triage import looked
from tests.unit.triage.test_similar import direction
from triage import examples, phrases, pipeline, plugins, questions, queue, ranking, similar
from triage.models import Analysis, Example, ExampleVector, Phrase, PhraseVector, PictureLook, Vector
from triage.replaying import Replayer

pytestmark = pytest.mark.django_db
PACKAGES = Path(__file__).resolve().parents[2] / "contracts" / "plugin"
BLUE, GREEN, RED = direction(1, 0.1, 0.1), direction(0.1, 1, 0.1), direction(0.1, 0.1, 1)


@pytest.fixture
def colours(monkeypatch, settings, tmp_path):
    """The tests' towers are installed and named in the settings."""
    monkeypatch.syspath_prepend(str(PACKAGES))
    plugins._named.cache_clear()
    settings.ANALYSERS = ("colours",)
    settings.INDEX_DIR = tmp_path / "index"
    pipeline.station.close()
    yield
    pipeline.station.close()
    plugins._named.cache_clear()


@pytest.fixture
def reader():
    return cast.person("researcher")


@pytest.fixture
def case(reader):
    return cast.case(owner=reader)


def asked(case, words="a red car", language="en", reads: bytes | None = RED, by=None) -> Phrase:
    """As if the tower had read words; None: it waits."""
    phrase = phrases.look_for(case=case, words=words, language=language, by=by)
    if reads is not None:
        by = phrases.of(phrases.tower_for(language))
        PhraseVector.objects.get_or_create(
            phrase=phrase,
            analyser=by.analyser,
            version=by.version,
            weights_sha256="",
            defaults={"values": reads},
        )
        Job.objects.filter(name="triage.look_for_words").delete()
    return phrase


def coloured(case, *vectors: bytes, by: str = "colours"):
    """Items of which a tower's embedder made these vectors."""
    items = looked.items(case, len(vectors))
    for item, values in zip(items, vectors, strict=True):
        looked.at(item, np.frombuffer(values, "<f2").astype(float), embedder=by)
    return items


def test_what_fits_best_comes_first_and_only_what_was_shared(colours, case, reader):
    blue, red, green = coloured(case, BLUE, RED, GREEN)
    coloured(cast.case(), RED)
    coloured(case, RED, by="colours-ar")
    found = phrases.search(asked(case), user=reader, count=2)
    assert [match.item for match in found] == [red.pk, blue.pk] and found[0].likeness > 0.99
    assert phrases.search(asked(case), user=cast.person()) == []
    assert green.pk in [match.item for match in phrases.search(asked(case), user=reader)]


def test_a_video_is_found_once_by_its_best_moment(colours, case, reader, monkeypatch):
    video, other = coloured(case, BLUE, GREEN)
    made = Analysis.objects.get(item=video, task="embed")
    for at_ms, values in ((1000, GREEN), (2000, RED), (3000, BLUE)):
        Vector.objects.create(analysis=made, at_ms=at_ms, values=values, whole=False)
    for size in (1, 4096):
        monkeypatch.setattr(phrases, "CHUNK", size)
        first, _ = phrases.search(asked(case), user=reader)
        assert (first.item, first.at_ms) == (video.pk, 2000)


def test_the_index_and_the_exact_way_find_the_same(colours, case, reader):
    rng = np.random.default_rng(0)
    coloured(case, *(direction(*rng.random(3)) for _ in range(12)))
    phrase = asked(case)
    exact = phrases.search(phrase, user=reader, count=5)
    assert similar.embedder() is None and similar.rebuild()[0].analyser == "colours"
    held = phrases.search(phrase, user=reader, count=5)
    assert [match.item for match in held] == [match.item for match in exact]
    assert [m.likeness for m in held] == pytest.approx([m.likeness for m in exact], abs=1e-3)


def test_the_tower_is_the_one_for_the_language_of_the_words(colours, case):
    assert phrases.tower_for("ar").name == "colours-ar" and phrases.tower_for("fr") is None
    assert phrases.languages(case, "en") == ["en", "ar"] and phrases.languages(case, "ar-eg") == ["ar", "en"]
    asked(case, "سيارة أحمر", "ar")
    assert phrases.languages(case, "en") == ["ar", "en"], "a case is asked in the language of the last words"


@pytest.mark.parametrize(
    ("words", "language"), [("", "en"), (" \x00 ", "en"), ("red " * 76, "en"), ("rouge", "fr")]
)
def test_words_that_cannot_be_asked_are_refused(colours, case, reader, words, language):
    with pytest.raises(BadInput):
        phrases.look_for(case=case, words=words, language=language, by=reader)
    with pytest.raises(BadInput):
        phrases.show(
            words=words, language=language, question=questions.main(case), actor=cast.signed_in(reader)
        )
    assert not Phrase.objects.exists() and not Example.objects.exists()


def test_the_same_words_again_are_the_same_row_and_one_job(colours, case, reader):
    other = cast.person()
    said = (("a red car", reader), (" a  red car ", other))
    first, again = (asked(case, words, reads=None, by=by) for words, by in said)
    assert first == again and Phrase.objects.get().by == other, "who asked last"
    assert Job.objects.filter(name="triage.look_for_words").count() == 1


def test_without_a_tower_nothing_is_offered_and_the_page_says_so(case, reader):
    browser = cast.browser(reader)
    page = browser.get(f"/cases/{case.code}/words/").content.decode()
    assert "No model that compares words with pictures is installed" in page and "words-asked" not in page
    assert f"/cases/{case.code}/words/" not in browser.get(f"/cases/{case.code}/").content.decode()
    assert "/words" not in browser.get(f"/cases/{case.code}/library/").content.decode()
    assert "/words" not in browser.get(f"/cases/{case.code}/questions/").content.decode()


def test_words_teach_an_order_as_an_example(colours, case, reader):
    actor = cast.signed_in(reader)
    items = coloured(case, *[BLUE, GREEN, RED, BLUE, GREEN] * 4)
    question = questions.ask(case=case, actor=actor, text="Shows a red car")
    ranking.set_settings(question=question, actor=actor, audit_percent=0)
    example = phrases.show(words="a red car", language="en", question=question, actor=actor)
    assert ranking.make(question).start == "nothing", "no model has read them"
    recipe = Analysis.objects.filter(item=items[0], task="embed").get().recipe
    ExampleVector.objects.create(example=example, embedder=recipe, values=RED)
    version = ranking.make(question)
    assert version.start == "examples" and version.labels == [[0, 1, example.pk, 1]]
    order = [row.number for row in queue.order(case, reader, question=question).rows]
    assert set(order[:4]) == {3, 8, 13, 18}
    why = queue.shown(items[2], question)["reasons"][0]
    assert why["why"] == "looks like what was shown as an example, marked yes" and why["items"] == []
    assert Replayer().replay(question, version.number) == []
    with pytest.raises(Conflict, match="already"):
        phrases.show(words="a red  car", language="en", question=question, actor=actor)
    with pytest.raises(NotAllowed):
        phrases.show(
            words="a car", language="en", question=question, actor=cast.signed_in(cast.person("researcher"))
        )
    examples.end(example=example, actor=actor)
    assert ranking.make(question).start == "nothing"
    events = CustodyEvent.objects.filter(subject=case.custody_subject()).order_by("number")
    last = list(events)[-2:]
    assert [event.type for event in last] == ["case.example_given", "case.example_ended"]
    assert "red car" not in str([bytes(event.canonical) for event in last])


def test_the_pages_ask_and_show_what_a_model_has_it_fit(colours, case, reader):
    browser = cast.browser(reader)
    coloured(case, BLUE, RED)
    for path in ("library/", "questions/"):
        assert f"/cases/{case.code}/words/" in browser.get(f"/cases/{case.code}/{path}").content.decode()
    sent = {"words": "a red car", "language": "en"}
    answer = browser.post(f"/cases/{case.code}/words/", sent)
    assert "This takes a moment" in browser.get(answer.url).content.decode()
    assert browser.get(f"{answer.url}state").json() == {"waiting": True}
    asked(case)
    page = browser.get(answer.url).content.decode()
    assert "Machine suggestions, not findings" in page and "not calibrated" in page and "colours" in page
    assert page.index("/0002") < page.index("/0001")
    browser.cookies["django_language"] = "ar"
    page = browser.get(answer.url).content.decode()
    assert '<option value="en" selected>' in page, "the words stay in their language"
    del browser.cookies["django_language"]
    refused = browser.post(f"/cases/{case.code}/words/", {"words": "rouge", "language": "fr"})
    assert "No model that compares words in this language" in refused.content.decode()
    page = browser.post(f"/cases/{case.code}/questions/0/words", sent, follow=True).content.decode()
    assert "a red car" in page and "no model has read them yet" in page
    stranger = cast.browser(cast.person())
    assert stranger.get(answer.url).status_code == stranger.get(f"{answer.url}state").status_code == 404


@pytest.mark.slow
def test_pictures_and_words_meet_in_the_confined_process(colours, case, reader, monkeypatch):
    """From files to pictures that fit words: the plug-in's code runs in the model process and nowhere else."""
    for name in ("amparo_colours", "amparo_colours.look"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    items = {colour: cast.item(case, name=f"{colour}.jpg", data=plain(colour)) for colour in ("red", "blue")}
    jobs.run_waiting("archive.examine")
    jobs.run_waiting("triage.analyse")
    found = {
        words: phrases.look_for(case=case, words=words, language=language, by=reader)
        for words, language in (("something red", "en"), ("شيء أزرق", "ar"), ("no colour", "en"))
    }
    example = phrases.show(
        words="blue", language="en", question=questions.main(case), actor=cast.signed_in(reader)
    )
    jobs.run_waiting("triage.look_for_words")
    assert not Job.objects.filter(name="triage.look_for_words").exclude(state="done").exists()
    best = {
        words: phrases.search(phrase, user=reader)[0].item
        for words, phrase in found.items()
        if words != "no colour"
    }
    assert best == {"something red": items["red"].pk, "شيء أزرق": items["blue"].pk}
    with pytest.raises(similar.NothingToCompare, match="makes nothing of these words"):
        phrases.search(Phrase.objects.get(words="no colour"), user=reader)
    recipe = Analysis.objects.get(item=items["red"], analyser="colours").recipe
    assert ExampleVector.objects.get(example=example).embedder == recipe
    assert PictureLook.objects.get(example=example).trouble == "" and not verify().faults
    assert not {"amparo_colours", "amparo_colours.look"} & set(sys.modules)


def plain(colour: str) -> bytes:
    """A photograph of one colour."""
    file = io.BytesIO()
    Image.new("RGB", (64, 48), colour).save(file, "JPEG")
    return file.getvalue()
