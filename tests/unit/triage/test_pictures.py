"""A picture from elsewhere, shown for what a question looks for: it teaches the order and is no item."""

import io

import numpy as np
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from archive import jobs, vault
from archive.custody.verify import verify
from archive.errors import BadInput, Conflict, NotAllowed
from archive.models import Blob, CustodyEvent, Item, Job
from tests import cast
from tests.unit.triage import looked
from triage import examples, pictures, questions, queue, ranking
from triage.models import Analysis, Example, ExampleVector, PictureLook, Vector
from triage.replaying import Replayer

pytestmark = pytest.mark.django_db
PICTURE = cast.jpeg(64, 48, seed=3)


@pytest.fixture
def reader():
    return cast.person("researcher")


@pytest.fixture
def case(reader):
    return cast.case(owner=reader)


def give(question, reader, data=PICTURE, **more):
    return pictures.give(
        picture=io.BytesIO(data),
        size=len(data),
        file_name="helmet.jpg",
        question=question,
        actor=cast.signed_in(reader),
        **more,
    )


def seen(example, like: Item) -> None:
    """As if the embedder had made of the picture what it made of this item."""
    made = Analysis.objects.get(item=like, task="embed")
    values = Vector.objects.get(analysis=made).values
    ExampleVector.objects.create(example=example, embedder=made.recipe, values=values)


def test_a_picture_brings_up_what_is_like_it_and_is_no_item(case, reader):
    items = looked.two_kinds(case, 20)
    question = questions.ask(case=case, actor=cast.signed_in(reader), text="Shows the bridge")
    ranking.set_settings(question=question, actor=cast.signed_in(reader), audit_percent=0)
    example = give(question, reader)
    assert ranking.make(question).start == "nothing", "no model has looked at it"
    seen(example, items[0])
    version = ranking.make(question)
    assert version.start == "examples" and version.labels == [[0, 1, example.pk, 1]]
    order = [row.number for row in queue.order(case, reader, question=question).rows]
    assert set(order[:4]) == {1, 6, 11, 16} and case.items.count() == 20
    why = queue.shown(items[5], question)["reasons"][0]
    assert why["why"] == "looks like what was shown as an example, marked yes" and why["items"] == []
    assert Replayer().replay(question, version.number) == []
    examples.end(example=example, actor=cast.signed_in(reader))
    assert ranking.make(question).start == "nothing" and examples.of(question) == []
    events = CustodyEvent.objects.filter(subject=case.custody_subject()).order_by("number")
    assert list(events.values_list("type", flat=True))[-2:] == ["case.example_given", "case.example_ended"]


def test_the_bytes_are_kept_sealed_and_counted_as_held(case, reader):
    example = give(questions.main(case), reader)
    assert vault.open(example.picture_id).read() == PICTURE
    assert Blob.objects.expected().filter(pk=example.picture_id).exists()
    assert Job.objects.filter(name="triage.look_at_picture", case=case).count() == 1
    assert pictures.look_again(case) == 1
    examples.end(example=example, actor=cast.signed_in(reader))
    assert not verify().faults and pictures.look_again(case) == 0


@pytest.mark.parametrize("size", [0, pictures.LARGEST + 1])
def test_none_and_too_large_a_picture_are_refused(case, reader, size):
    with pytest.raises(BadInput, match="at most 10 MB"):
        pictures.give(
            picture=io.BytesIO(b""),
            size=size,
            file_name="",
            question=questions.main(case),
            actor=cast.signed_in(reader),
        )
    assert not Example.objects.exists() and not Blob.objects.exists()


def test_the_same_again_a_closed_question_and_a_stranger_are_refused(case, reader):
    question = questions.ask(case=case, actor=cast.signed_in(reader), text="Shows the bridge")
    give(question, reader)
    with pytest.raises(Conflict, match="already"):
        give(question, reader)
    with pytest.raises(NotAllowed):
        give(question, cast.person("researcher"))
    questions.close(question=question, actor=cast.signed_in(reader), reason="Done")
    with pytest.raises(Conflict, match="closed"):
        give(question, reader, b"other")


def test_models_look_at_it_in_the_confined_process(case, reader):
    """Without weights nothing compares it, and with bytes that are no picture nothing can: the page says which."""
    question = questions.main(case)
    example, broken = give(question, reader), give(question, reader, b"no picture at all")
    jobs.run_waiting("triage.look_at_picture")
    looks = {one.example_id: one.trouble for one in PictureLook.objects.all()}
    assert set(looks) == {example.pk, broken.pk} and looks[broken.pk]
    assert not Job.objects.filter(name="triage.look_at_picture").exclude(state="done").exists()
    made = {np.frombuffer(bytes(v.values), "<f2").size for v in ExampleVector.objects.filter(example=example)}
    assert made == (set() if looks[example.pk] else made) and not broken.vectors.exists()


@pytest.mark.slow
def test_the_list_shows_it_small_and_veiled_until_thumbnails_are_asked_for(case, reader):
    example, broken = give(questions.main(case), reader), give(questions.main(case), reader, b"no picture")
    assert jobs.run_waiting("triage.small_picture") == 2
    assert {one.kind for one in example.small.all()} == {"veil", "thumbnail"} and not broken.small.exists()
    browser, veil, sharp = (
        cast.browser(reader),
        *(f"/cases/{case.code}/examples/{example.pk}/{kind}" for kind in ("veil", "thumbnail")),
    )
    page = browser.get(f"/cases/{case.code}/questions/").content.decode()
    assert veil in page and sharp not in page and "veil" in page
    assert browser.get(veil)["Content-Type"] == "image/jpeg" and browser.get(sharp).status_code == 404
    browser.post(f"/cases/{case.code}/library/thumbnails", {"show": "yes"})
    assert sharp in browser.get(f"/cases/{case.code}/questions/").content.decode()
    assert browser.get(sharp).status_code == 200
    assert cast.browser(cast.person()).get(veil).status_code == 404


def test_it_is_shown_and_taken_away_on_the_page_of_questions(case, reader):
    browser = cast.browser(reader)
    sent = {"picture": SimpleUploadedFile("helmet.jpg", PICTURE, "image/jpeg")}
    page = browser.post(f"/cases/{case.code}/questions/0/picture", sent, follow=True).content.decode()
    assert "helmet.jpg" in page and "no model has looked at it yet" in page
    example = Example.objects.get()
    page = browser.post(f"/cases/{case.code}/examples/{example.pk}/end", follow=True).content.decode()
    assert "helmet.jpg" not in page and Example.objects.get().ended_at
    page = browser.post(f"/cases/{case.code}/questions/0/picture", {}, follow=True).content.decode()
    assert "Choose a picture of at most 10 MB" in page
