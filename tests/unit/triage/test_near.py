"""Near-duplicates: which pictures are tied, groups that do not depend on the order of arrival, one act for a group."""

import io
import itertools
import json

import pytest
from django.utils import timezone
from PIL import Image, ImageDraw, ImageFilter

from archive import jobs
from archive.errors import BadInput, Conflict, LimitExceeded, NotAllowed
from archive.models import CustodyEvent, Decision, Item
from tests import cast
from triage import near, questions, review, together
from triage.models import Answer, Fingerprint, Near

pytestmark = [pytest.mark.django_db, pytest.mark.slow]


def scene(seed: int, side: int = 640) -> Image.Image:
    """A picture unlike those of other seeds: soft coloured shapes, the same for the same seed."""
    import random

    dice = random.Random(seed)  # noqa: S311 - a picture, not a secret
    picture = Image.new("RGB", (side, side * 3 // 4), tuple(dice.randrange(256) for _ in range(3)))
    draw = ImageDraw.Draw(picture)
    for _ in range(40):
        x, y = dice.randrange(side), dice.randrange(side)
        w, h = dice.randrange(20, side // 3), dice.randrange(20, side // 3)
        draw.ellipse((x - w, y - h, x + w, y + h), fill=tuple(dice.randrange(256) for _ in range(3)))
    return picture.filter(ImageFilter.GaussianBlur(2))


def jpeg(picture: Image.Image, quality: int = 90) -> bytes:
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=quality)
    return out.getvalue()


def versions(seed: int) -> list[bytes]:
    """A picture, re-encoded, resized and cropped a little."""
    whole = scene(seed)
    wide, high = whole.size
    cut = whole.crop((int(wide * 0.05), int(high * 0.04), int(wide * 0.97), int(high * 0.98)))
    return [jpeg(whole), jpeg(whole, 30), jpeg(whole.resize((200, 150))), jpeg(cut)]


@pytest.fixture(scope="module")
def prints() -> dict[str, list[bytes]]:
    """The fingerprints of four versions of one scene, of another scene and of a plain picture; one sandbox for all."""
    one, other = versions(1), [jpeg(scene(2))]
    plain = [jpeg(Image.new("RGB", (320, 240), (9, 9, 9)))]
    made = near.fingerprints([near.Sheet(data) for data in (*one, *other, *plain)])
    found = [made.get((place, 0)) for place in range(6)]
    return {"one": found[:4], "other": found[4:5], "plain": found[5:]}


@pytest.fixture
def reader():
    return cast.person("researcher")


@pytest.fixture
def case(reader):
    return cast.case(owner=reader)


@pytest.fixture
def actor(reader):
    return cast.signed_in(reader)


def known(case, *bits: bytes | None, kind: str = "image") -> list[Item]:
    """Items with these fingerprints, grouped one after the other as they would arrive."""
    from archive.custody.log import recording

    items = []
    for own in bits:
        item = cast.item(case)
        with recording():
            Item.objects.filter(pk=item.pk).update(kind=kind)
        if own is not None:
            Fingerprint.objects.create(item=item, at_ms=0, method=near.METHOD, bits=own)
        near.regroup(case.pk, {item.pk})
        items.append(item)
    return items


def groups(case) -> list[list[int]]:
    rows = Near.objects.filter(case=case).order_by("group", "number").values_list("group", "number")
    return [[n for _, n in some] for _, some in itertools.groupby(rows, key=lambda row: row[0])]


# --- fingerprints -------------------------------------------------------------------------------------------------


def test_a_plain_picture_has_no_fingerprint_and_no_group(case, prints):
    assert prints["plain"] == [None]
    known(case, None)
    assert groups(case) == []


def test_versions_of_a_picture_are_grouped_and_others_are_not(case, prints):
    known(case, *prints["one"], *prints["other"])
    assert groups(case) == [[1, 2, 3, 4], [5]]


@pytest.mark.parametrize("order", [(3, 1, 4, 0, 2), (4, 2, 3, 1, 0)])
def test_groups_do_not_depend_on_the_order_of_arrival(case, prints, order):
    bits = [*prints["one"], *prints["other"]]
    known(case, *(bits[place] for place in order))
    alone = order.index(4) + 1
    assert groups(case) == sorted([[n for n in range(1, 6) if n != alone], [alone]])


def test_what_comes_between_two_groups_joins_them_and_its_disposal_parts_them(case, monkeypatch):
    """By bits alone: b is close to a and to c, which are far from each other."""

    def bits(count: int) -> bytes:
        return (((1 << count) - 1) << (256 - count)).to_bytes(32) * len(near.WINDOWS)

    monkeypatch.setattr(near, "MOST_APART_COARSE", 64)
    first, last, between = known(case, bits(0), bits(100), bits(50))
    assert groups(case) == [[1, 2, 3]]
    Fingerprint.objects.filter(item=between).delete()
    near.regroup(case.pk, {between.pk})
    assert groups(case) == [[1], [2]]
    assert Near.objects.get(item=last).group == last.number and first.number == 1


def test_videos_are_tied_by_half_of_their_frames_and_never_to_pictures(case, prints):
    one, other = prints["one"], prints["other"][0]
    films = known(case, None, None, None, kind="video")
    for film, frames in zip(
        films, ([one[0], other], [one[1]], [other, other, one[0], one[0], one[0]]), strict=True
    ):
        for at, own in enumerate(frames):
            Fingerprint.objects.create(item=film, at_ms=at, method=near.METHOD, bits=own)
    near.regroup(case.pk, {film.pk for film in films})
    known(case, one[2])
    assert groups(case) == [[1, 2, 3], [4]]


def test_films_of_one_room_are_told_apart_where_pictures_would_be_tied(case):
    def bits(count: int) -> bytes:
        spread = sum(1 << (255 - 5 * place) for place in range(count))
        return spread.to_bytes(32) * len(near.WINDOWS)

    known(case, bits(0), bits(40), kind="video")
    assert groups(case) == [[1], [2]]
    known(case, bits(0), bits(40))
    assert groups(case) == [[1], [2], [3, 4]]


@pytest.mark.embedded
def test_from_bytes_to_groups_by_the_job_and_again_by_the_command(case, prints):
    data = versions(1)
    items = [cast.item(case, data[0]), cast.item(case, data[3]), cast.item(case, jpeg(scene(2)))]
    jobs.run_waiting("archive.examine")
    jobs.run_waiting("triage.near")
    assert groups(case) == [[1, 2], [3]]
    stored = Fingerprint.objects.filter(item=items[0]).get()
    assert len(bytes(stored.bits)) == near.BYTES
    Near.objects.all().delete()
    Fingerprint.objects.all().delete()
    assert near.rebuild(case) == 3 and groups(case) == [[1, 2], [3]]


def test_what_was_disposed_of_leaves_no_fingerprint_and_no_group(case, prints):
    from archive.custody.log import recording

    first, second = known(case, *prints["one"][:2])
    with recording():
        Item.objects.filter(pk=first.pk).update(disposed_at=timezone.now())
    assert jobs.KINDS["triage.near"].after == ("item.rendition_made", "item.disposed")
    jobs.enqueue("triage.near", subject=first)
    jobs.run_waiting("triage.near")
    assert groups(case) == [[2]] and not Fingerprint.objects.filter(item=first).exists()
    assert Near.objects.get().item == second


def test_a_sandbox_that_lies_is_believed_only_so_far():
    def said(place: object, size: int) -> bytes:
        head = json.dumps({"record": "print", "value": place, "size": size}) + "\n"
        return head.encode() + b"x" * size

    sheets = [near.Sheet(b"", frames=2)]
    lies = [
        said([0, 2], near.BYTES),
        said([1, 0], near.BYTES),
        said([0, 0], 3),
        said("x", near.BYTES),
        said([-1, 0], 1),
    ]
    assert near.believed(b"".join(lies), sheets) == {}
    assert set(near.believed(said([0, 1], near.BYTES), sheets)) == {(0, 1)}


# --- deciding together --------------------------------------------------------------------------------------------


def decide(items, actor, **more) -> int:
    first = items[0]
    given = {
        "question": questions.main(first.case),
        "value": "not_relevant",
        "reason": "the same street",
    } | more
    return together.decide(
        item=first, members=given.pop("members", [i.pk for i in items]), actor=actor, **given
    )


def test_one_act_gives_each_member_its_own_decision_and_event(case, actor, prints):
    items = known(case, *prints["one"])
    assert decide(items, actor, members=[i.pk for i in items[:3]]) == 3
    decisions = Decision.objects.all()
    assert {d.item_id for d in decisions} == {i.pk for i in items[:3]}
    assert {(d.value, d.reason, d.by) for d in decisions} == {("not_relevant", "the same street", actor.user)}
    for one in decisions:
        assert one.shown["group"] == {
            "act": decisions[0].shown["group"]["act"],
            "of": items[0].code,
            "members": 4,
            "decided": 3,
            "method": near.METHOD,
        }
        assert one.shown["place"] >= 1
    for item in items[:3]:
        events = CustodyEvent.objects.filter(subject=item.custody_subject(), type="item.decided")
        assert events.count() == 1
        item.refresh_from_db()
        assert item.decision is not None
    items[3].refresh_from_db()
    assert items[3].decision is None


def test_another_question_gets_answers(case, actor, prints):
    items = known(case, *prints["one"][:2])
    question = questions.ask(case=case, actor=actor, text="Does it show a clinic?")
    decide(items, actor, question=question, value="yes")
    assert Answer.objects.filter(question=question, value="yes").count() == 2
    assert not Decision.objects.exists()
    assert Answer.objects.first().shown["group"]["members"] == 2


def test_one_act_is_taken_back_at_once_and_only_by_who_did_it(case, actor, prints):
    items = known(case, *prints["one"])
    other = cast.person("researcher")
    cast.share(case, other)
    decide(items, actor, members=[i.pk for i in items[:2]], value="relevant")
    for item in items:
        item.refresh_from_db()
    decide(items, actor, members=[i.pk for i in items[1:]])
    question = questions.main(case)
    with pytest.raises(Conflict):
        together.take_back(item=items[0], question=question, actor=cast.signed_in(other))
    assert together.take_back(item=items[0], question=question, actor=actor) == 3
    assert questions.in_force(question) == {items[0].pk: "relevant", items[1].pk: "relevant"}
    assert together.take_back(item=items[3], question=question, actor=actor) == 2
    assert questions.in_force(question) == {}


def test_answers_are_taken_back_at_once_too(case, actor, prints):
    items = known(case, *prints["one"][:2])
    question = questions.ask(case=case, actor=actor, text="Does it show a clinic?")
    decide(items, actor, question=question, value="yes")
    assert together.take_back(item=items[0], question=question, actor=actor) == 2
    assert questions.in_force(question) == {}


def test_all_or_none(case, actor, prints, monkeypatch):
    items = known(case, *prints["one"])
    seen, real = [], review.decide_within

    def second_fails(**given):
        seen.append(given["item"])
        if len(seen) == 2:
            raise Conflict("Somebody else was first.")
        return real(**given)

    monkeypatch.setattr(review, "decide_within", second_fails)
    with pytest.raises(Conflict):
        decide(items, actor)
    assert not Decision.objects.exists() and not CustodyEvent.objects.filter(type="item.decided").exists()


def test_what_is_not_of_the_group_any_more_too_many_and_none_are_refused(case, actor, prints, monkeypatch):
    items = known(case, *prints["one"], *prints["other"])
    with pytest.raises(Conflict, match="group has changed"):
        decide(items, actor)
    with pytest.raises(BadInput, match="at least one"):
        decide(items, actor, members=[])
    with pytest.raises(BadInput, match="A decision is one of"):
        decide(items[:2], actor, value="maybe")
    monkeypatch.setattr(together, "MOST_TOGETHER", 3)
    with pytest.raises(LimitExceeded):
        decide(items[:4], actor)
    assert not Decision.objects.exists()


def test_only_who_may_decide_here_decides_for_a_group(case, prints):
    items = known(case, *prints["one"][:2])
    reviewer = cast.person("reviewer")
    cast.share(case, reviewer)
    for person in (reviewer, cast.person("researcher")):
        with pytest.raises(NotAllowed):
            decide(items, cast.signed_in(person))
    assert together.group_of(items[0], cast.person("researcher")) is None


# --- screens ------------------------------------------------------------------------------------------------------


def test_the_review_screen_leads_to_the_group_where_members_can_be_left_out(case, reader, prints):
    items = known(case, *prints["one"][:3], *prints["other"])
    browser = cast.browser(reader)
    assert f"/review/{items[0].pk}/group" in browser.get(f"/review/{items[0].pk}/").content.decode()
    assert "/group" not in browser.get(f"/review/{items[3].pk}/").content.decode()
    page = browser.get(f"/review/{items[1].pk}/group").content.decode()
    assert "Machine suggestion" in page and page.count('name="member"') == 3
    answer = browser.post(
        f"/review/{items[1].pk}/group/decide",
        {"value": "relevant", "member": [items[0].pk, items[1].pk], "reason": ""},
    )
    assert answer.status_code == 302
    assert {d.item_id for d in Decision.objects.all()} == {items[0].pk, items[1].pk}
    assert "Take back what you said of" in browser.get(f"/review/{items[1].pk}/group").content.decode()
    browser.post(f"/review/{items[1].pk}/group/undo")
    assert questions.in_force(questions.main(case)) == {}


def test_a_refusal_keeps_what_was_left_out(case, reader, prints):
    items = known(case, *prints["one"][:3])
    answer = cast.browser(reader).post(
        f"/review/{items[0].pk}/group/decide", {"value": "escalate", "member": [items[0].pk], "reason": " "}
    )
    page = answer.content.decode()
    assert answer.status_code == 422 and "Say why you escalate" in page
    assert page.count(" checked") == 1 and not Decision.objects.exists()
