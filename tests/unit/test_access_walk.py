"""Every route by every kind of person, against the table below. A route that the table does not list fails.

Guards promise: no one sees a case that was not shared with them, in any view, API, search, count or file address;
what is absent and what is forbidden look alike.
"""

import base64
import contextlib
import datetime as dt
import hashlib
import io
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.urls import get_resolver, reverse
from django.utils import timezone

from archive import access, annotate, custody, vault
from archive.custody import Actor
from archive.custody.publish import publish
from archive.models import Blob, CaseGrant, Job, Rendition, Upload
from evidence.models import Bundle, BundleVolume
from tests import cast
from triage import examples, pictures, pipeline, questions, rules
from triage.models import Alert, Part, Phrase, SmallPicture, Telling

# Who may do what is one table, whatever the database.
pytestmark = [pytest.mark.django_db, pytest.mark.embedded, pytest.mark.slow]

# --- who ----------------------------------------------------------------------------------------------------------

ADMIN, RESEARCHER, REVIEWER = "administrator", "researcher", "reviewer"
LEGAL, SCIENTIST, OBSERVER = "legal", "data_scientist", "observer"
ROLES = (ADMIN, RESEARCHER, REVIEWER, LEGAL, SCIENTIST, OBSERVER)
EVERYONE = frozenset(ROLES)
WORKS = frozenset({ADMIN, RESEARCHER})
WRITES = WORKS | {REVIEWER, LEGAL}
TAKES_OUT = WORKS | {LEGAL}
HOLDS = frozenset({ADMIN, LEGAL})
ORDERS = WORKS | {SCIENTIST}
TOLD = WRITES | {SCIENTIST}
ADMINS = frozenset({ADMIN})

# Where a request is answered without looking at any case
ANYBODY = "anybody, signed in or not"
SIGNED_IN = "anybody who is signed in, each with what they see"
SYSTEM = "by role alone"
CASE = "by role, on a case that was shared"

FINE = frozenset({200, 201, 204, 302, 409, 422})
JSON = "application/json"


@dataclass(frozen=True)
class Try:
    """One request: the route, how it is asked, and which roles may, on a case that they see."""

    route: str
    method: str
    scope: str
    roles: frozenset[str] = EVERYONE
    args: tuple[str, ...] = ()
    data: Any = None
    json: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    before: str = ""

    def __str__(self) -> str:
        return f"{self.method} {self.route}"


TUS = {"tus-resumable": "1.0.0"}
NAMED = f"filename {base64.b64encode(b'a.jpg').decode()}"
WHY = {"reason": "Consent ended", "authority": "Rule 4"}
OF_CASE, OF_ITEM, OF_SOURCE, OF_PERSON = ("code",), ("item",), ("code", "source"), ("person",)

TABLE = [
    # the door
    Try("healthz", "GET", ANYBODY),
    Try("metrics", "GET", ANYBODY, headers={"authorization": "Bearer walking"}),
    Try("signin", "GET", ANYBODY),
    Try("signin", "POST", ANYBODY, data={"username": "x", "password": "y"}),
    Try("signin-link", "GET", ANYBODY, args=("token",)),
    Try("preferences", "POST", ANYBODY, data={"language": "ar"}),
    Try("signout", "POST", SIGNED_IN),
    Try("account", "GET", SIGNED_IN),
    Try("account", "POST", SIGNED_IN, data={"old_password": "wrong"}),
    # finding
    Try("home", "GET", SIGNED_IN),
    Try("cases", "GET", SIGNED_IN),
    Try("search", "GET", SIGNED_IN, data={"q": "bridge"}),
    Try("jobs", "GET", SIGNED_IN),
    Try("api-cases", "GET", SIGNED_IN),
    Try("api-schema", "GET", SIGNED_IN),
    Try("api-docs", "GET", SIGNED_IN),
    # cases
    Try("case-open", "GET", SYSTEM, WORKS),
    Try("case-open", "POST", SYSTEM, WORKS, data={"code": "N-1", "title": "New", "sensitivity": "ordinary"}),
    Try("case", "GET", CASE, EVERYONE, OF_CASE),
    Try("case-edit", "GET", CASE, WORKS, OF_CASE),
    Try("case-edit", "POST", CASE, WORKS, OF_CASE, {"title": "New title"}),
    Try("people", "GET", CASE, WORKS, OF_CASE),
    Try("people", "POST", CASE, WORKS, OF_CASE, {"username": "guest-of-walk", "permissions": "view_case"}),
    Try("people-end", "POST", CASE, WORKS, ("code", "guest")),
    Try("items-csv", "POST", CASE, TAKES_OUT, OF_CASE),
    # material
    Try("upload", "GET", CASE, WORKS, OF_CASE),
    Try("upload-held", "POST", CASE, WORKS, OF_CASE, {"files": [{"sha256": "0" * 64}]}, json=True),
    Try("tus", "OPTIONS", CASE, WORKS, OF_CASE, headers=TUS),
    Try(
        "tus",
        "POST",
        CASE,
        WORKS,
        OF_CASE,
        headers=TUS | {"upload-length": "9", "upload-metadata": NAMED},
    ),
    Try("tus-file", "HEAD", CASE, WORKS, ("code", "upload"), headers=TUS),
    Try(
        "tus-file",
        "PATCH",
        CASE,
        WORKS,
        ("code", "upload"),
        b"123456789",
        headers=TUS | {"upload-offset": "0"},
    ),
    Try("tus-file", "DELETE", CASE, WORKS, ("code", "upload"), headers=TUS),
    Try("upload-discard", "POST", CASE, WORKS, ("code", "upload")),
    # sources
    Try("sources", "GET", CASE, EVERYONE, OF_CASE),
    Try("source-add", "GET", CASE, WORKS, OF_CASE),
    Try("source-add", "POST", CASE, WORKS, OF_CASE, {"code": "S-77"}),
    Try("source", "GET", CASE, EVERYONE, OF_SOURCE),
    Try("source", "POST", CASE, WORKS, OF_SOURCE, {"pseudonym": "Oak"}),
    Try("source-identity", "POST", CASE, WORKS, OF_SOURCE, {"identity": "Someone"}),
    Try("source-identity-see", "POST", CASE, TAKES_OUT, OF_SOURCE, {"reason": "To ask for consent"}),
    Try("identity-destroy", "POST", CASE, TAKES_OUT, OF_SOURCE, WHY),
    # holds and disposal
    Try("retention", "GET", CASE, EVERYONE, OF_CASE),
    Try("hold-place", "POST", CASE, HOLDS, OF_CASE, {"reason": "Court order"}),
    Try("hold-lift", "POST", CASE, HOLDS, ("hold",), {"reason": "The order ended"}),
    Try("disposal-ask", "POST", CASE, TAKES_OUT, OF_CASE, WHY | {"items": "1"}),
    Try("item-dispose", "POST", CASE, TAKES_OUT, OF_ITEM, WHY),
    Try("disposal", "GET", CASE, EVERYONE, ("disposal",)),
    Try("disposal-approve", "POST", CASE, HOLDS, ("disposal",)),
    Try("disposal-decline", "POST", CASE, HOLDS, ("disposal",), {"answer": "Not yet"}),
    Try("disposal-withdraw", "POST", CASE, TAKES_OUT, ("disposal",)),
    Try("disposal-certificate", "GET", CASE, EVERYONE, ("done",)),
    # custody and jobs
    Try("custody", "GET", CASE, TAKES_OUT, OF_CASE),
    Try("custody-check", "POST", CASE, TAKES_OUT, OF_CASE),
    Try("item-custody", "GET", CASE, TAKES_OUT, OF_ITEM),
    Try("item-custody-check", "POST", CASE, TAKES_OUT, OF_ITEM),
    Try("source-custody", "GET", CASE, TAKES_OUT, OF_SOURCE),
    Try("case-jobs", "GET", CASE, EVERYONE, OF_CASE),
    Try("job-retry", "POST", CASE, WRITES, ("job",)),
    # people
    Try("accounts", "GET", SYSTEM, ADMINS),
    Try("account-add", "GET", SYSTEM, ADMINS),
    Try("account-add", "POST", SYSTEM, ADMINS, data={"username": "new", "name": "New", "roles": "observer"}),
    Try("account-of", "GET", SYSTEM, ADMINS, OF_PERSON),
    Try("account-roles", "POST", SYSTEM, ADMINS, OF_PERSON, {"roles": "observer"}),
    Try("account-active", "POST", SYSTEM, ADMINS, OF_PERSON, {"active": "no"}),
    Try("account-link", "POST", SYSTEM, ADMINS, OF_PERSON),
    # library and items
    Try("library", "GET", CASE, EVERYONE, OF_CASE, {"q": "bridge"}),
    Try("library-thumbnails", "POST", CASE, EVERYONE, OF_CASE, {"show": "yes"}),
    Try("item", "GET", CASE, EVERYONE, OF_ITEM),
    Try("item-note", "POST", CASE, WRITES, OF_ITEM, {"text": "Look at the left"}),
    Try("item-tag", "POST", CASE, WRITES, OF_ITEM, {"tag": "bridge"}),
    Try("item-untag", "POST", CASE, WRITES, OF_ITEM, {"tag": "seen"}),
    Try("item-assign", "POST", CASE, WORKS, OF_ITEM, {"to": "guest"}),
    Try("item-unassign", "POST", CASE, WORKS, OF_ITEM, {"to": "guest"}),
    Try(
        "item-finding",
        "POST",
        CASE,
        WRITES,
        OF_ITEM,
        {"about": "place", "text": "North bank", "basis": "The bridge", "precision": "unknown"},
    ),
    Try("item-reveal", "POST", CASE, EVERYONE, OF_ITEM),
    Try("item-stream", "GET", CASE, EVERYONE, OF_ITEM, before="item-reveal"),
    Try("item-original", "POST", CASE, TAKES_OUT, OF_ITEM),
    Try("redact", "GET", CASE, TAKES_OUT, OF_ITEM),
    Try("redact-state", "GET", CASE, TAKES_OUT, OF_ITEM),
    Try("redact-begin", "POST", CASE, TAKES_OUT, OF_ITEM),
    Try("redact-save", "POST", CASE, TAKES_OUT, OF_ITEM, {"document": "{}", "seen": ""}),
    Try("redact-look", "POST", CASE, TAKES_OUT, OF_ITEM),
    Try("redact-approve", "POST", CASE, TAKES_OUT, OF_ITEM, {"statement": "Looked at every frame"}),
    Try("redact-end", "POST", CASE, TAKES_OUT, OF_ITEM, {"reason": "Not needed"}),
    Try("rendition", "GET", CASE, EVERYONE, ("veil",)),
    Try("rendition", "GET", CASE, EVERYONE, ("view",), before="item-reveal"),
    Try("rendition", "GET", CASE, frozenset(), ("view",)),
    # triage
    Try("review", "GET", CASE, EVERYONE, OF_CASE),
    Try("review-undo", "POST", CASE, WORKS, OF_CASE),
    Try("review-item", "GET", CASE, EVERYONE, OF_ITEM),
    Try("review-decide", "POST", CASE, WORKS, OF_ITEM, {"value": "relevant"}),
    Try("review-postpone", "POST", CASE, WORKS, OF_ITEM, {"reason": "Ask Hala first"}),
    Try("example-give", "POST", CASE, WORKS, OF_ITEM),
    Try("example-end", "POST", CASE, WORKS, ("item", "example")),
    Try("questions", "GET", CASE, EVERYONE, OF_CASE),
    Try("questions", "POST", CASE, ORDERS, OF_CASE, {"text": "Does it show the bridge?"}),
    Try("picture-give", "POST", CASE, WORKS, ("code", "number")),
    Try("words-show", "POST", CASE, WORKS, ("code", "number")),
    Try("words", "GET", CASE, EVERYONE, OF_CASE),
    Try("words", "POST", CASE, EVERYONE, OF_CASE),
    Try("words-found", "GET", CASE, EVERYONE, ("code", "phrase")),
    Try("words-state", "GET", CASE, EVERYONE, ("code", "phrase")),
    Try("picture-small", "GET", CASE, EVERYONE, ("code", "picture", "small_kind")),
    Try("picture-end", "POST", CASE, WORKS, ("code", "picture")),
    Try("question-close", "POST", CASE, ORDERS, ("code", "number"), {"reason": "Answered"}),
    Try("estimate", "GET", CASE, EVERYONE, OF_CASE),
    Try("sample-draw", "POST", CASE, WORKS, OF_CASE, {"size": "1"}),
    Try("sample", "GET", CASE, EVERYONE, ("draw",)),
    Try("sample-item", "GET", CASE, EVERYONE, ("draw", "item")),
    Try("sample-item", "POST", CASE, WORKS, ("draw", "item"), {"value": "yes"}),
    Try("second", "GET", CASE, EVERYONE, OF_CASE),
    Try("second-share", "POST", CASE, ORDERS, OF_CASE, {"percent": "5"}),
    Try("second-item", "GET", CASE, WORKS, ("code", "question", "item")),
    Try("second-item", "POST", CASE, WORKS, ("code", "question", "item"), {"value": "yes"}),
    Try("settle", "GET", CASE, WORKS, ("reading",)),
    Try("settle", "POST", CASE, WORKS, ("reading",), {"value": "no"}),
    Try("doubtful", "GET", CASE, EVERYONE, OF_CASE),
    Try("doubtful-search", "POST", CASE, WORKS, OF_CASE),
    Try("doubtful-item", "GET", CASE, WORKS, ("code", "question", "item")),
    Try("doubtful-item", "POST", CASE, WORKS, ("code", "question", "item"), {"value": "yes"}),
    Try("criteria", "GET", CASE, EVERYONE, OF_CASE),
    Try("criteria", "POST", CASE, ORDERS, OF_CASE),
    Try("criteria-preview", "POST", CASE, ORDERS, OF_CASE),
    Try("criteria-queue", "POST", CASE, ORDERS, OF_CASE, {"audit_percent": "7"}),
    Try("criteria-again", "POST", CASE, ORDERS, ("code", "number"), {"reason": "It worked better"}),
    Try("alerts", "GET", SIGNED_IN),
    Try("alerts-of-case", "GET", CASE, EVERYONE, OF_CASE),
    Try(
        "alerts-of-case",
        "POST",
        CASE,
        TOLD,
        OF_CASE,
        {"name": "A", "question": "0", "what": "points", "least": "1"},
    ),
    Try("alert-digest", "GET", CASE, frozenset(), ("digest",)),  # its person's alone
    Try("alert-seen", "POST", CASE, frozenset(), ("digest",)),
    Try("alert-end", "POST", CASE, frozenset(), ("subscription",)),
    Try("alert-destinations", "GET", SYSTEM, ADMINS),
    Try("alert-destinations", "POST", SYSTEM, ADMINS),
    Try("alert-destination-end", "POST", SYSTEM, ADMINS, ("destination",)),
    Try("near", "GET", CASE, EVERYONE, OF_ITEM),
    Try("near-undo", "POST", CASE, WORKS, OF_ITEM),
    Try("near-decide", "POST", CASE, WORKS, OF_ITEM, {"value": "relevant"}),
    # evidence
    Try("bundles", "GET", CASE, EVERYONE, OF_CASE),
    Try("bundles", "POST", CASE, TAKES_OUT, OF_CASE, {"items": "1"}),
    Try("bundle", "GET", CASE, EVERYONE, ("bundle",)),
    Try("bundle-progress", "GET", CASE, EVERYONE, ("bundle",)),
    Try("bundle-cancel", "POST", CASE, TAKES_OUT, ("bundle",)),
    Try("bundle-download", "POST", CASE, TAKES_OUT, ("bundle",)),
    Try("bundle-hand-on", "POST", CASE, TAKES_OUT, ("bundle",), {"recipient": "Court", "basis": "Order 7"}),
    Try("bundles-all", "GET", SYSTEM, ADMINS),
    Try("bundles-all", "POST", SYSTEM, ADMINS),
    Try("disclosures", "GET", CASE, EVERYONE, OF_CASE),
    Try("disclosures-csv", "POST", CASE, TAKES_OUT, OF_CASE),
    # API
    Try("api-case", "GET", CASE, EVERYONE, OF_CASE),
    Try("api-items", "GET", CASE, EVERYONE, OF_CASE),
    Try("api-sources", "GET", CASE, EVERYONE, OF_CASE),
    Try("api-jobs", "GET", CASE, EVERYONE, OF_CASE),
    Try("api-item", "GET", CASE, EVERYONE, OF_ITEM),
    Try("api-events", "GET", CASE, TAKES_OUT, OF_ITEM),
    Try("system", "GET", SYSTEM, ADMINS),
    Try("system-publish", "POST", SYSTEM, ADMINS),
    Try("system-verify", "POST", SYSTEM, ADMINS),
    Try("api-event-proof", "GET", CASE, EVERYONE, ("item", "number")),
    Try("api-history", "GET", CASE, EVERYONE, OF_ITEM),
    Try("api-checkpoint", "GET", SIGNED_IN),
    Try("api-consistency", "GET", SIGNED_IN, data={"old": 1, "new": 2}),
    Try("api-bundles", "GET", CASE, EVERYONE, OF_CASE),
    Try("api-bundles", "POST", CASE, TAKES_OUT, OF_CASE, {"reason": "For the court"}, json=True),
    Try("api-bundle", "GET", CASE, EVERYONE, ("bundle",)),
    Try("api-bundle-cancel", "POST", CASE, TAKES_OUT, ("bundle",)),
    Try("api-bundle-download", "POST", CASE, TAKES_OUT, ("bundle",)),
    Try("api-disclosures", "GET", CASE, EVERYONE, OF_CASE),
    Try("api-tags", "POST", CASE, WRITES, OF_ITEM, {"name": "bridge"}, json=True),
    Try("api-tag", "DELETE", CASE, WRITES, ("item", "tag")),
    Try("similar", "GET", CASE, EVERYONE, OF_ITEM),
    Try("similar-ask", "POST", CASE, EVERYONE, OF_ITEM, {"box": "0.1,0.1,0.5,0.5"}),
    Try("similar-part-state", "GET", CASE, EVERYONE, ("item", "part")),
    Try("api-similar", "GET", CASE, EVERYONE, OF_ITEM),
    Try("api-parts", "POST", CASE, EVERYONE, OF_ITEM, {"box": [0.1, 0.1, 0.5, 0.5]}, json=True),
    Try("api-part", "GET", CASE, EVERYONE, ("item", "part")),
    Try("api-notes", "POST", CASE, WRITES, OF_ITEM, {"text": "Look"}, json=True),
]


def routes(patterns: list, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Name and form of every route of the project."""
    for pattern in patterns:
        form = prefix + str(pattern.pattern)
        if hasattr(pattern, "url_patterns"):
            yield from routes(pattern.url_patterns, form)
        else:
            yield pattern.name or "", form


def test_table_lists_every_route_and_no_other():
    found = dict(routes(get_resolver().url_patterns))
    assert "" not in found, f"routes without a name cannot be walked: {found['']}"
    listed = {t.route for t in TABLE}
    assert set(found) - listed == set(), "routes that the table does not list"
    assert listed - set(found) == set(), "the table lists routes that are no more"


# --- the case that is walked ------------------------------------------------------------------------------------


@pytest.fixture
def world(settings) -> SimpleNamespace:
    """A case with one of everything, whose words must reach no stranger."""
    settings.METRICS_TOKEN = "walking"
    owner = cast.person(RESEARCHER, ADMIN)
    case = cast.case(owner=owner, code="QUELIMANE-7", title="Bridge of Quelimane")
    guest = cast.person(OBSERVER, username="guest-of-walk")
    cast.share(case, guest)
    actor = cast.signed_in(owner)
    source = cast.source(case, code="S-QUELIMANE", pseudonym="Cedar of Quelimane")
    from archive import cases

    cases.set_identity(source=source, identity="Someone of Quelimane", actor=actor)
    item = cast.item(case, name="bridge-quelimane.jpg")
    annotate.tag(item=item, name="seen", actor=actor)
    annotate.note(item=item, text="bridge, a note of Quelimane", actor=actor)
    annotate.assign(item=item, to=guest, actor=actor)
    questions.ask(case=case, actor=actor, text="Is the bridge of Quelimane seen?")
    pipeline.set_criteria(case=case, actor=actor, name="Bridge of Quelimane", rules=rules.DEFAULT_RULES)
    asked, done, hold = _governed(case, item, actor)
    draw, reading = _sampled(case, actor)
    job = Job.objects.filter(case=case).first()
    Job.objects.filter(pk=job.pk).update(state="failed", finished_at=timezone.now())
    publish(actor=Actor.operator())
    return SimpleNamespace(
        owner=owner,
        case=case,
        args={
            "code": case.code,
            "item": item.pk,
            "source": source.code,
            "guest": guest.pk,
            "person": guest.pk,
            "job": job.pk,
            "hold": hold.pk,
            "disposal": asked.pk,
            "done": done.pk,
            "tag": "seen",
            "part": Part.objects.create(
                item=item, x="0.1", y="0.1", width="0.5", height="0.5", asked_at=timezone.now()
            ).pk,
            "phrase": Phrase.objects.create(
                case=case, words="bridge of Quelimane", language="en", asked_at=timezone.now()
            ).pk,
            "token": "no-such-token",
            "veil": _rendition(item, Rendition.Kind.VEIL).pk,
            "view": _rendition(item, Rendition.Kind.VIEW).pk,
            "proxy": _rendition(item, Rendition.Kind.PROXY).pk,
            "bundle": _bundle(case, item).pk,
            "number": 1,
            "picture": _picture(case, item, actor).pk,
            "small_kind": "veil",
            "example": examples.give(item=item, question=questions.main(case), actor=actor).pk,
            **_told(case, item, actor),
            "draw": draw.pk,
            "question": 0,
            "reading": reading.pk,
        },
        secrets=[b"quelimane", item.sha256.encode()],
    )


def _governed(case, item, actor) -> tuple:
    """A request to destroy that waits, one that was carried out, and a hold on a single item."""
    from archive import access, disposal, holds, jobs

    lawyer = cast.person(LEGAL)
    cast.share(case, lawyer, access.MANAGE)
    others = [cast.item(case, name="quelimane-road.jpg") for _ in range(3)]
    why = {"reason": "Consent of Quelimane ended", "authority": "Rule 4"}
    asked, done = (disposal.request(case=case, actor=actor, items=[o.pk], **why) for o in others[:2])
    disposal.approve(disposal=done, actor=cast.signed_in(lawyer))
    jobs.run_waiting("archive.dispose")
    hold = holds.place(
        case=case,
        item=others[2],
        actor=cast.signed_in(lawyer),
        reason="Court order of Quelimane",
        identities=False,
    )
    return asked, done, hold


def _sampled(case, actor) -> tuple:
    """A sample by lot of all that is unseen, and an item that was read by two persons."""
    from triage import elusion, questions, review, second_reading

    main = questions.main(case)
    draw = elusion.draw(question=main, actor=actor, size=elusion.seen(main).unseen)
    other = cast.item(case, name="quelimane-market.jpg")
    review.decide(item=other, actor=actor, value="relevant", shown={})
    second_reading.set_share(question=main, actor=actor, percent=100)
    helper = cast.person(RESEARCHER)
    cast.share(case, helper)
    reading = second_reading.read_again(question=main, item=other, actor=cast.signed_in(helper), value="no")
    return draw, reading


def _told(case, item, actor) -> dict[str, uuid.UUID]:
    """A subscription of this person, a digest that tells of the item, and a destination."""
    from triage import alerts, questions

    one = alerts.subscribe(
        case=case, question=questions.main(case), actor=actor, name="Quelimane", measure="points", least="1"
    )
    now = timezone.now()
    digest = Telling.objects.create(subscription=one, channel="app", prepared_at=now, told_at=now)
    Alert.objects.create(subscription=one, item=item, at=now, score="2.000", shown_in=digest)
    place = alerts.allow(actor=actor, kind="webhook", name="Desk", address="https://hooks.example.org/")
    return {"subscription": one.pk, "digest": digest.pk, "destination": place.pk}


def _picture(case, item, actor):
    """A picture from elsewhere, shown as an example, with its veil."""
    shown = pictures.give(
        picture=io.BytesIO(b"a picture"),
        size=9,
        file_name="a.jpg",
        question=questions.main(case),
        actor=actor,
    )
    SmallPicture.objects.create(example=shown, kind="veil", blob=item.blob)
    return shown


def _rendition(item, kind) -> Rendition:
    video = kind == Rendition.Kind.PROXY
    stored = vault.put(cast.io.BytesIO(cast.mp4() if video else cast.jpeg(seed=hash(kind) % 1000)))
    Blob.objects.bulk_create(
        [Blob(sha256=stored.sha256, size=stored.size, stored_at=timezone.now())], ignore_conflicts=True
    )
    row = Rendition(
        item=item,
        kind=kind,
        original_sha256=item.sha256,
        recipe=f"walk {kind}",
        blob_id=stored.sha256,
        media_type="video/mp4" if video else "image/jpeg",
        made_at=timezone.now(),
    )
    with transaction.atomic():
        return custody.write(row, event="item.rendition_made", actor=Actor.system())


def _bundle(case, item) -> Bundle:
    row = Bundle(
        case=case,
        item_count=1,
        items_sha256=hashlib.sha256(f"{item.pk}\n".encode()).hexdigest(),
        key="0" * 64,
        kept=Bundle.Kept.VAULT,
        requested_at=timezone.now(),
        state=Bundle.State.BUILT,
        size=item.size,
    )
    volume = BundleVolume(
        bundle=row,
        number=1,
        of=1,
        item_count=1,
        size=item.size,
        blob_id=item.sha256,
        statement_sha256="0" * 64,
        built_at=timezone.now(),
    )
    with transaction.atomic():
        custody.write(row, event="bundle.requested", actor=Actor.operator())
        custody.write(volume, event="bundle.volume_built", actor=Actor.operator())
    return row


def absent(name: str, value: Any) -> Any:
    """What is not there, in the same form."""
    if isinstance(value, int):
        return value + 10**6
    return uuid.uuid4() if isinstance(value, uuid.UUID) else f"NONE-{uuid.uuid4().hex[:6]}"


# --- asking -----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def undone() -> Iterator[None]:
    """What happens inside is rolled back, as the test's own transaction is."""
    block = transaction.atomic()
    block._from_testcase = True
    with block:
        yield
        transaction.set_rollback(True)


def ask(world: SimpleNamespace, attempt: Try, user, *, there: bool = True):
    """One request by one person (None: signed out), to what is there or to what is not. Nothing of it lasts."""
    with undone():
        client = cast.browser(user) if user else Client()
        args = dict(world.args)
        if "upload" in attempt.args:
            args["upload"] = Upload.objects.create(
                case=world.case,
                by=user or world.owner,
                file_name="quelimane.bin",
                length=9,
                created_at=timezone.now(),
            ).pk
        if attempt.before:
            client.post(reverse(attempt.before, args=[args["item"]]))
        values = [args[a] if there else absent(a, args[a]) for a in attempt.args]
        url = reverse(attempt.route, args=values)
        data = attempt.data
        if isinstance(data, dict) and data.get("to") == "guest":
            data = {"to": str(args["guest"])}
        more: dict[str, Any] = {"headers": attempt.headers}
        if attempt.json:
            more |= {"content_type": JSON, "data": json.dumps(data)}
        elif isinstance(data, bytes):
            more |= {"content_type": "application/offset+octet-stream", "data": data}
        elif data is not None:
            more["data"] = data
        answer = getattr(client, attempt.method.lower())(url, **more)
        body = b"".join(answer.streaming_content) if answer.streaming else answer.content
        return SimpleNamespace(status=answer.status_code, body=body, to=answer.headers.get("Location", ""))


def ended(person, world: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """All permissions on the case, of which the end has come."""
    soon = timezone.now() + dt.timedelta(hours=1)
    cast.share(world.case, person, *access.GRANTABLE[1:], ends_at=soon)
    later = soon + dt.timedelta(seconds=1)
    monkeypatch.setattr(access.timezone, "now", lambda: later)
    assert CaseGrant.objects.filter(user=person).count() == len(access.GRANTABLE)


@pytest.mark.parametrize("role", ROLES)
def test_person_of_the_case_may_do_what_the_table_says(world, role):
    person = cast.person(role)
    cast.share(world.case, person, *access.GRANTABLE[1:])
    wrong = []
    for attempt in TABLE:
        answer = ask(world, attempt, person)
        may = attempt.scope in (ANYBODY, SIGNED_IN) or role in attempt.roles
        if may and answer.status not in FINE | ({503} if attempt.route == "healthz" else set()):
            wrong.append(f"{attempt}: may, got {answer.status}")
        if not may:
            wrong += unlike_absence(world, attempt, person, answer)
    assert wrong == []


def unlike_absence(world: SimpleNamespace, attempt: Try, person, answer) -> list[str]:
    """What tells a refused request from one to something that is not there."""
    if answer.status != 404:
        return [f"{attempt}: may not, got {answer.status}"]
    if attempt.scope == SYSTEM:
        with undone():
            nothing = cast.browser(person).get("/no/such/page")
        absence = SimpleNamespace(status=nothing.status_code, body=nothing.content)
    else:
        absence = ask(world, attempt, person, there=False)
    if (answer.status, answer.body) != (absence.status, absence.body):
        return [f"{attempt}: forbidden and absent can be told apart"]
    return []


@pytest.mark.parametrize("kind", ["stranger", "ended", "signed out"])
def test_nobody_else_learns_that_the_case_is_there(world, kind, monkeypatch):
    """By people of every role at once, so that only the missing grant can be what stops them."""
    person = None if kind == "signed out" else cast.person(*ROLES)
    if kind == "ended":
        ended(person, world, monkeypatch)

    def refused(answer: SimpleNamespace) -> bool:
        if person is None:
            return answer.status in (401, 403) or answer.to.startswith("/signin/")
        return answer.status == 404

    wrong = []
    for attempt in TABLE:
        answer = ask(world, attempt, person)
        for secret in world.secrets:
            if secret in answer.body.lower():
                wrong.append(f"{attempt}: tells {secret!r}")
        if attempt.scope == CASE:
            nothing = ask(world, attempt, person, there=False)
            if not refused(answer):
                wrong.append(f"{attempt}: got {answer.status}")
            elif (answer.status, answer.body) != (nothing.status, nothing.body):
                wrong.append(f"{attempt}: present and absent can be told apart")
        elif person is None and attempt.scope != ANYBODY and not refused(answer):
            wrong.append(f"{attempt}: open without signing in, {answer.status}")
    assert wrong == []
