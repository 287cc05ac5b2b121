"""A redaction from suggestion to release: what machines suggest, people decide, and the log keeps."""

import copy
import hashlib
import json
from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone
from redaction_material import green

from archive import custody, jobs, vault
from archive.custody import Actor
from archive.custody.canonical import canonical
from archive.errors import BadInput, Conflict, Damaged, NotAllowed
from archive.models import Case, CustodyEvent, Item, Job
from evidence.redaction import approved, document, proposals, rendering, verbs
from evidence.redaction.models import Redaction
from tests import cast
from triage.models import Analysis, Detection

pytestmark = [pytest.mark.django_db, pytest.mark.slow]
FACE = ("0.20000", "0.25000", "0.15000", "0.20000")


@pytest.fixture
def person():
    return cast.person()


@pytest.fixture
def actor(person):
    return cast.signed_in(person)


@pytest.fixture
def case(person) -> Case:
    return cast.case(owner=person)


@pytest.fixture
def photo(case) -> Item:
    return looked_at(examined(cast.item(case, cast.jpeg(320, 240, seed=9))), {0: [FACE]})


def examined(item: Item) -> Item:
    while jobs.run_waiting("archive.examine", most=20):
        continue
    item.refresh_from_db()
    assert item.examined_at, item.condition_detail
    return item


def looked_at(item: Item, boxes: dict[int, list[tuple[str, ...]]], label: str = "face") -> Item:
    """As if a model had looked at these moments and found these boxes."""
    now = timezone.now()
    analysis = Analysis(
        item=item, task="face", analyser="faces-yunet", version=1, model="yunet-2026may", weights_sha256="a" * 64,
        recipe=hashlib.sha256(label.encode()).hexdigest(), started_at=now, finished_at=now, frames=len(boxes),
        looked_at_ms=sorted(boxes), found=sum(map(len, boxes.values())), truncated=False, result_sha256="b" * 64,
    )  # fmt: skip
    with transaction.atomic():
        custody.write(analysis, event="item.analysed", actor=Actor.system())
        for at, found in boxes.items():
            for x, y, w, h in found:
                Detection.objects.create(
                    analysis=analysis, at_ms=at, label=label, confidence="0.9100", x=x, y=y, width=w, height=h
                )
    return item


def decided(redaction: Redaction, state: str = "confirmed") -> dict:
    """The draft with this word on every suggestion."""
    draft = copy.deepcopy(redaction.draft)
    for one in draft["regions"]:
        one["state"] = state
    return draft


def drawn(*box: str, name: str = "d1", **more) -> dict:
    still = {"from_ms": None, "to_ms": None, "keys": [{"at_ms": None, "box": list(box)}]}
    return {"id": name, "kind": "other", "fill": "solid", "state": "confirmed", **still, **more}


def events(item: Item) -> list[str]:
    rows = CustodyEvent.objects.filter(subject=item.custody_subject(), type__startswith="item.redaction")
    return [row.type.removeprefix("item.redaction_") for row in rows.order_by("number")]


def rendered(item: Item, actor: Actor) -> Redaction:
    """A redaction that waits for approval."""
    redaction = verbs.begin(item=item, actor=actor)
    verbs.confirm(redaction=redaction, actor=actor, untrusted=decided(redaction), seen=redaction.draft_sha256)
    jobs.run_waiting("evidence.redact")
    redaction.refresh_from_db()
    assert redaction.state == "rendered", redaction.problem
    return redaction


# --- the whole way ------------------------------------------------------------------------------------------------


def test_from_a_suggestion_to_a_released_copy(photo, actor):
    redaction = verbs.begin(item=photo, actor=actor)
    (suggestion,) = redaction.draft["regions"]
    assert (suggestion["state"], suggestion["kind"], suggestion["keys"][0]["box"]) == (
        "suggested",
        "face",
        list(FACE),
    )
    with pytest.raises(BadInput, match="neither confirmed nor rejected"):
        verbs.confirm(
            redaction=redaction, actor=actor, untrusted=redaction.draft, seen=redaction.draft_sha256
        )
    draft = decided(redaction) | {
        "regions": [*decided(redaction)["regions"], drawn("0.6", "0.6", "0.2", "0.2")]
    }
    verbs.save(redaction=redaction, actor=actor, untrusted=draft, seen=redaction.draft_sha256)
    verbs.confirm(redaction=redaction, actor=actor, untrusted=draft, seen=redaction.draft_sha256)
    jobs.run_waiting("evidence.redact")
    redaction.refresh_from_db()
    assert redaction.state == "rendered" and approved(photo) == []

    with pytest.raises(BadInput, match="Look at the rendered result"):
        verbs.approve(redaction=redaction, actor=actor, statement="It is fine")
    verbs.look(redaction=redaction, actor=actor)
    with pytest.raises(BadInput, match="Say what you looked at"):
        verbs.approve(redaction=redaction, actor=actor, statement=" ")
    verbs.approve(redaction=redaction, actor=actor, statement="Both faces are covered")

    (copy_,) = approved(photo)
    record = copy_.record
    assert record["original_sha256"] == photo.sha256 == copy_.rendition.original_sha256
    assert hashlib.sha256(canonical(record["recipe"])).hexdigest() == record["recipe_sha256"]
    assert [one["origin"] for one in record["recipe"]["regions"]] == ["suggested and confirmed", "drawn"]
    with vault.open(record["sha256"]) as stream:
        data = stream.read()
    assert hashlib.sha256(data).hexdigest() == record["report"]["result_sha256"]
    assert copy_.rendition.kind == "redacted" and copy_.thumbnail.kind == "redacted_thumbnail"
    assert events(photo) == ["proposed", "changed", "confirmed", "rendered", "viewed", "approved"]
    said = json.loads(bytes(CustodyEvent.objects.get(type="item.redaction_confirmed").canonical))["payload"]
    assert said["set"]["recipe_sha256"] == record["recipe_sha256"]
    assert said["regions"] == {"drawn": 1, "suggested and confirmed": 1}

    verbs.withdraw(redaction=redaction, actor=actor, reason="A plate was missed")
    assert approved(photo) == []


@pytest.mark.embedded
def test_only_who_looked_at_this_result_can_approve_it(photo, actor, case):
    redaction = rendered(photo, actor)
    verbs.look(redaction=redaction, actor=actor)
    other = cast.person()
    cast.share(case, other)
    with pytest.raises(BadInput, match="Look at the rendered result"):
        verbs.approve(redaction=redaction, actor=cast.signed_in(other), statement="I believe the first")
    observer = cast.person("observer")
    cast.share(case, observer)
    for who in (
        cast.signed_in(observer),
        cast.signed_in(cast.person()),
        Actor.operator(),
        Actor.system("worker"),
    ):
        with pytest.raises(NotAllowed):
            verbs.approve(redaction=redaction, actor=who, statement="It is fine")
    with custody.unattended(), pytest.raises(NotAllowed):
        verbs.approve(redaction=redaction, actor=actor, statement="It is fine")
    redaction.refresh_from_db()
    assert redaction.state == "rendered"


def test_a_row_that_the_log_does_not_vouch_for_is_not_handed_out(photo, actor):
    redaction = rendered(photo, actor)
    verbs.look(redaction=redaction, actor=actor)
    verbs.approve(redaction=redaction, actor=actor, statement="It is fine")
    with custody.log.recording():
        for change in (
            {"recipe": redaction.recipe | {"regions": []}},
            {"rendition": photo.renditions.get(kind="view")},
        ):
            before = {name: getattr(redaction, name) for name in change}
            Redaction.objects.filter(pk=redaction.pk).update(**change)
            with pytest.raises(Damaged):
                approved(photo)
            Redaction.objects.filter(pk=redaction.pk).update(**before)
        assert len(approved(photo)) == 1
        with pytest.raises(IntegrityError), transaction.atomic():
            Redaction.objects.filter(pk=redaction.pk).update(approved_by=None)


@pytest.mark.parametrize("moment", ["while it renders", "when the file is stored", "before COMMIT"])
def test_a_killed_rendering_leaves_nothing_and_is_taken_up_again(photo, actor, monkeypatch, moment):
    class Killed(BaseException):
        pass

    def killed(*_, **__):
        raise Killed

    redaction = verbs.begin(item=photo, actor=actor)
    verbs.confirm(redaction=redaction, actor=actor, untrusted=decided(redaction), seen=redaction.draft_sha256)
    place = {
        "while it renders": (rendering, "render"),
        "when the file is stored": (rendering.ingest, "store"),
        "before COMMIT": (rendering.custody, "change"),
    }[moment]
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(*place, killed)
        jobs.run_waiting("evidence.redact")
    redaction.refresh_from_db()
    assert (redaction.state, redaction.rendition_id, approved(photo)) == ("confirmed", None, [])
    assert not photo.renditions.filter(kind="redacted").exists()
    jobs.sweep(timezone.now() + timedelta(hours=1))
    Job.objects.filter(name="evidence.redact").update(run_after=timezone.now())
    jobs.run_waiting("evidence.redact")
    redaction.refresh_from_db()
    assert redaction.state == "rendered" and photo.renditions.filter(kind="redacted").count() == 1
    assert approved(photo) == []


@pytest.mark.embedded
def test_a_recipe_that_was_changed_behind_the_log_is_not_rendered(photo, actor):
    redaction = verbs.begin(item=photo, actor=actor)
    verbs.confirm(redaction=redaction, actor=actor, untrusted=decided(redaction), seen=redaction.draft_sha256)
    with custody.log.recording():
        Redaction.objects.filter(pk=redaction.pk).update(recipe=redaction.recipe | {"regions": []})
    jobs.run_waiting("evidence.redact")
    redaction.refresh_from_db()
    assert redaction.state == "failed" and "not the one that was confirmed" in redaction.problem


@pytest.mark.embedded
def test_what_cannot_be_rendered_says_so_and_its_boxes_can_be_taken_up(photo, actor, monkeypatch):
    redaction = verbs.begin(item=photo, actor=actor)
    verbs.confirm(redaction=redaction, actor=actor, untrusted=decided(redaction), seen=redaction.draft_sha256)
    monkeypatch.setattr(rendering, "foreign", lambda exif: ["XMP:Creator"])
    jobs.run_waiting("evidence.redact")
    redaction.refresh_from_db()
    assert redaction.state == "failed" and "carries metadata" in redaction.problem
    assert not photo.renditions.filter(kind="redacted").exists()
    with pytest.raises(Conflict):
        verbs.begin(item=photo, actor=actor)
    verbs.set_aside(redaction=redaction, actor=actor, reason="Once more")
    again = verbs.begin(item=photo, actor=actor, based_on=redaction)
    assert again.draft["regions"][0]["state"] == "confirmed" and again.number == 2


# --- suggestions and drafts ------------------------------------------------------------------------------------------


@pytest.fixture
def clip(case) -> Item:
    return examined(cast.item(case, cast.mp4(seconds=3), name="clip.mp4"))


@pytest.mark.embedded
def test_a_face_in_sampled_frames_becomes_one_moving_box_and_another_stays_another(clip):
    def box(x: str):
        return (x, "0.30000", "0.10000", "0.15000")

    looked_at(clip, {0: [], 1000: [box("0.10000"), box("0.80000")], 2000: [box("0.15000")], 3000: []})
    regions, analyses = proposals.propose(clip)
    assert [len(one["keys"]) for one in regions] == [2, 1] or [len(one["keys"]) for one in regions] == [1, 2]
    both = next(one for one in regions if len(one["keys"]) == 2)
    assert (both["from_ms"], both["to_ms"]) == (0, 3000), "to the sampled frames before and after it"
    assert [key["box"][0] for key in both["keys"]] == ["0.10000", "0.15000"]
    assert len(analyses) == 1 and not proposals.knows_plates(clip)


@pytest.mark.embedded
def test_a_plate_is_suggested_where_a_model_names_it_and_is_always_solid(photo):
    looked_at(photo, {0: [FACE]}, label="number plate")
    regions, _ = proposals.propose(photo)
    before = {"regions": regions, "sound": {}}
    (plate,) = (one for one in regions if one["kind"] == "plate")
    sent = {"regions": [plate | {"fill": "mosaic", "state": "confirmed"}]}
    assert document.parse(sent, item=photo, before=before)["regions"][0]["fill"] == "solid"


@pytest.mark.embedded
def test_what_a_machine_suggested_cannot_be_left_out_or_forged(photo, actor):
    redaction = verbs.begin(item=photo, actor=actor)

    def save(*regions, seen=redaction.draft_sha256):
        return verbs.save(
            redaction=redaction, actor=actor, untrusted={"regions": list(regions), "sound": None}, seen=seen
        )

    (suggestion,) = redaction.draft["regions"]
    forged = suggestion | {"state": "rejected", "suggestion": {"confidence": "0.0100", "as": {}}}
    for bad in ([], [drawn(*FACE)], [suggestion, suggestion], [suggestion, drawn(*FACE, state="rejected")],
                [suggestion, drawn("x", "0", "1", "1")], [suggestion | {"keys": []}], ["no"]):  # fmt: skip
        with pytest.raises(BadInput):
            save(*bad)
    save(forged)
    assert redaction.draft["regions"][0]["suggestion"] == suggestion["suggestion"], "as the model said it"
    with pytest.raises(Conflict):
        save(suggestion, seen="0" * 64)
    with pytest.raises(BadInput, match="Nothing is to be covered"):
        verbs.confirm(
            redaction=redaction, actor=actor, untrusted=redaction.draft, seen=redaction.draft_sha256
        )
    save(forged, drawn("-0.2", "0.9", "0.5", "5"), seen=redaction.draft_sha256)
    assert redaction.draft["regions"][1]["keys"][0]["box"] == ["0.00000", "0.90000", "0.50000", "0.10000"]


@pytest.mark.embedded
def test_a_corrected_suggestion_stays_a_machines_and_says_that_it_was_corrected(photo, actor):
    redaction = verbs.begin(item=photo, actor=actor)
    draft = decided(redaction)
    draft["regions"][0]["keys"][0]["box"][0] = "0.10000"
    verbs.confirm(redaction=redaction, actor=actor, untrusted=draft, seen=redaction.draft_sha256)
    assert redaction.recipe["regions"][0]["origin"] == "corrected"


@pytest.mark.embedded
def test_sound_must_be_decided_about(case, actor):
    item = examined(cast.item(case, cast.mp4(seconds=1), name="silent.mp4"))
    Item.objects.filter(pk=item.pk)
    item.technical = item.technical | {"has_audio": True}
    draft = {"regions": [], "sound": {"do": "", "ranges": []}}
    parsed = document.parse(draft, item=item, before=draft)
    with pytest.raises(BadInput, match="what becomes of the sound"):
        document.recipe(parsed, item=item, redaction="r")
    muted = document.parse(draft | {"sound": {"do": "mute", "ranges": []}}, item=item, before=draft)
    assert document.recipe(muted, item=item, redaction="r")["grow"]["ms"] == document.SEEN_MS


# --- on screen --------------------------------------------------------------------------------------------------------


@pytest.mark.embedded
def test_each_state_has_its_page(photo, person, actor):
    browser, url = cast.browser(person), f"/items/{photo.pk}/redact/"
    assert b"Begin a redaction" in browser.get(url).content
    assert browser.post(url + "begin").status_code == 302
    redaction = Redaction.objects.get()
    assert b"A model suggests 1 face" in browser.get(url).content
    stale = browser.post(url + "save", {"document": json.dumps(redaction.draft), "seen": "0" * 64})
    assert stale.status_code == 409 and b"Somebody else went on" in stale.content
    refused = browser.post(
        url + "save",
        {"document": json.dumps(redaction.draft), "seen": redaction.draft_sha256, "do": "confirm"},
    )
    assert refused.status_code == 422 and b"neither confirmed nor rejected" in refused.content
    sent = {"document": json.dumps(decided(redaction)), "seen": redaction.draft_sha256, "do": "confirm"}
    assert browser.post(url + "save", sent).status_code == 302
    assert b"Being rendered" in browser.get(url).content
    assert browser.get(url + "state").json() == {"state": "confirmed", "job": "queued", "share": 0.0}
    jobs.run_waiting("evidence.redact")
    page = browser.get(url).content
    assert b"Look at both, side by side" in page and b"/renditions/" not in page
    assert browser.post(url + "approve", {"statement": "Not looked"}).status_code == 422
    assert browser.post(url + "look").status_code == 302
    redaction.refresh_from_db()
    address = f"/renditions/{redaction.rendition_id}"
    assert address.encode() in browser.get(url).content
    assert green_of(browser.get(address)) == 0
    assert browser.post(url + "approve", {"statement": "Looked at all of it"}).status_code == 302
    assert b"Looked at all of it" in browser.get(url).content
    assert CustodyEvent.objects.filter(subject=photo.custody_subject(), type="item.viewed").count() == 1


def green_of(response) -> int:
    import io

    import numpy
    from PIL import Image

    return green(numpy.array(Image.open(io.BytesIO(b"".join(response.streaming_content)))))


@pytest.mark.embedded
def test_what_cannot_be_redacted_says_why(case, person, actor):
    text = examined(cast.item(case, b"not a picture\n" * 40, name="note.txt"))
    page = cast.browser(person).get(f"/items/{text.pk}/redact/")
    assert page.status_code == 200 and b"Only pictures and videos" in page.content
    with pytest.raises(BadInput, match="Only pictures"):
        verbs.begin(item=text, actor=actor)
    assert "not examined yet" in verbs.why_not(cast.item(case, cast.jpeg(seed=5)))
    text.disposed_at = timezone.now()
    assert "disposed of" in verbs.why_not(text)
