"""Search by text: what is found where, in which form, and by whom."""

import io

import pytest
from django.db import transaction
from django.urls import reverse

from archive import annotate, cases, custody, ingest, search
from archive.custody import Actor
from archive.models import Acquisition, Claim, Item, Words
from tests import cast

pytestmark = pytest.mark.django_db


@pytest.fixture
def scene():
    researcher = cast.person()
    case = cast.case(owner=researcher)
    return researcher, cast.signed_in(researcher), cast.item(case, name="IMG_0042 Süd.jpg")


def found(q: str, *origins: str) -> list[Item]:
    return list(search.found(Item.objects.all(), q, origins))


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("مُسْتَشْفَى الأطفال", "مستشفي"),
        ("مُسْتَشْفَى الأطفال", "اطفال"),
        ("مدرســــة ١٢٣", "مدرسه 123"),
        ("ﻣﺪﺭﺳﺔ", "مدرسة"),
        ("کودک", "كودك"),
        ("Café Straße", "CAFE STRASSE"),
        ("Hospital del Niño", "nino"),
        ("full width ＡＢＣ", "abc"),
        ("100% of it_all", "0% of"),
    ],
)
def test_texts_are_found_in_every_way_of_writing_them(scene, text, asked):
    annotate.note(item=scene[2], text=text, actor=scene[1])
    assert found(asked) == [scene[2]]


def test_every_term_has_to_be_found_but_anywhere(scene):
    _, actor, item = scene
    annotate.note(item=item, text="burnt roof", actor=actor)
    annotate.tag(item=item, name="school", actor=actor)
    assert found("roof SCHOOL 0042") == [item]
    assert not found("roof bridge")
    assert found('"burnt roof"') == [item] and not found('"roof burnt"')
    assert found("of") == [item], "two signs are found too, inside a word"


def test_a_tag_taken_off_is_no_longer_found(scene):
    _, actor, item = scene
    held = annotate.tag(item=item, name="checkpoint", actor=actor)
    assert found("checkpoint", *search.BY_PEOPLE) == [item]
    assert not found("checkpoint", *search.BY_FILE)
    annotate.untag(item_tag=held, actor=actor)
    assert not found("checkpoint")


def test_operators_and_wildcards_mean_nothing(scene):
    for q in ('NOT "', "a* OR b", "%", "_x_", "sud) OR (1", "img NEAR sud", "'"):
        search.found(Item.objects.all(), q).exists()
    assert not found("%%%") and not found("im_")
    assert found("süd.jpg") == [scene[2]]


def test_what_the_file_claims_and_what_people_establish_are_told_apart(scene):
    _, actor, item = scene
    with transaction.atomic():
        claim = Claim(item=item, about="author", text="Jonas", origin="xmp", at=item.received_at)
        custody.write(claim, event="item.claim_recorded", actor=Actor.system("worker"))
        search.refresh([item.pk])
    annotate.establish(
        item=item, about="place", text="Northern bridge", basis="compared with a map", actor=actor
    )
    assert search.where([item.pk], "jonas bridge") == {item.pk: ["claim", "finding"]}
    assert found("compared map") == [item]


def test_nobody_finds_or_counts_what_was_not_shared_with_them(scene):
    _, actor, item = scene
    annotate.note(item=item, text="unmistakable", actor=actor)
    stranger = cast.person()
    cast.case(owner=stranger)
    page = cast.browser(stranger).get(reverse("search"), {"q": "unmistakable"})
    assert item.code not in page.content.decode() and page.context["number"] == 0
    assert cast.browser(scene[0]).get(reverse("search"), {"q": "unmistakable"}).context["number"] == 1


def test_a_source_is_found_by_its_code_and_never_by_its_identity_or_pseudonym(scene):
    user, actor, first = scene
    source = cast.source(first.case, code="S9", pseudonym="Halima")
    cases.set_identity(source=source, identity="Samira Real", actor=actor)
    origin = ingest.Origin(Acquisition.Method.COMMAND, "test", "a.jpg", source=source)
    ingest.acquire(case=first.case, actor=actor, stream=io.BytesIO(cast.jpeg(seed=77)), origin=origin)
    seen = cast.browser(user)
    address = reverse("library", args=[first.case.code])
    assert seen.get(address, {"q": "s9"}).context["number"] == 1
    for secret in ("Halima", "Samira", "Real"):
        assert seen.get(address, {"q": secret}).context["number"] == 0


def test_the_library_says_where_a_text_was_found_and_looks_only_there(scene, monkeypatch):
    user, actor, item = scene
    annotate.note(item=item, text="smoke over the market", actor=actor)
    monkeypatch.setattr(search, "_upper", {"suggested": lambda ids: {pk: ["smoke"] for pk in ids}})
    search.refresh_upper([item.pk])
    seen, address = cast.browser(user), reverse("library", args=[item.case.code])
    (card,) = seen.get(address, {"q": "smoke"}).context["cards"]
    assert card.found == ("notes by people",) and card.found_machine == ("tags that a machine suggests",)
    assert seen.get(address, {"q": "smoke", "in": "machine"}).context["number"] == 1
    assert seen.get(address, {"q": "market", "in": "machine"}).context["number"] == 0
    assert seen.get(address, {"q": "market", "in": "people"}).context["number"] == 1


def test_words_are_rebuilt_and_compared(scene):
    item = scene[2]
    assert not list(search.faults())
    Words.objects.filter(item=item).delete()
    assert list(search.faults()) == [item.pk] and not found("0042")
    assert search.rebuild(item.case) == 1
    assert not list(search.faults()) and found("0042") == [item]
