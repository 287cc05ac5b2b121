"""Puts people and a case into an instance by the product's own verbs:  python -m tests.browser.stock people|administrator|case|work ...

Run in the environment of that instance. Prints what it made as JSON.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

import django

PASSWORD = "a long enough pass-phrase"  # noqa: S105 - of people who exist in tests alone
NAMES = {
    "administrator": ("ada", "Ada Orozco"),
    "researcher": ("rania", "Rania Haddad"),
    "reviewer": ("emeka", "Emeka Obi"),
    "legal": ("lucia", "Lucía Ferrer"),
    "data_scientist": ("dilnoza", "Dilnoza Karimova"),
    "observer": ("oyelaran", "Oyelaran Bello"),
}


def people() -> dict:
    """One person in each role, by role."""
    from archive import people as verbs
    from archive.custody import Actor
    from archive.models import User

    for role, (username, name) in NAMES.items():
        if not User.objects.filter(username=username).exists():
            verbs.add(username=username, name=name, roles=(role,), actor=Actor.operator(), password=PASSWORD)
    return {role: username for role, (username, _) in NAMES.items()}


def administrator(username: str, name: str) -> dict:
    """The first administrator, who has no password yet; the path that signs them in once."""
    from archive import people as verbs
    from archive.custody import Actor

    person = verbs.add(username=username, name=name, roles=("administrator",), actor=Actor.operator())
    return {"link": f"/signin/once/{verbs.make_sign_in_link(person=person, actor=Actor.operator())}"}


def case(code: str, title: str, *paths: str) -> dict:
    """A case that everybody sees, with a source and these files in it; its item ids by file name."""
    from django.conf import settings

    from archive import access, cases, ingest
    from archive.custody import Actor
    from archive.models import Source, User

    people()
    operator = Actor.operator()
    made = cases.open_case(
        code=code,
        title=title,
        mandate="Documentation unit of an invented commission, until 31 December 2027",
        actor=operator,
    )
    for role, (username, _) in NAMES.items():
        person = User.objects.get(username=username)
        more = (access.EXPORT, access.IDENTITY, access.MANAGE) if role == "researcher" else ()
        access.share(case=made, person=person, actor=operator, permissions=(access.VIEW, *more))
    known = cases.add_source(
        case=made,
        code="S-014",
        actor=operator,
        pseudonym="Blue Door",
        consent_informed="yes",
        may_go_to_courts="yes",
        may_be_public="yes",
        kind=Source.Kind.WITNESS,
    )
    found = ingest.find_files([Path(p) for p in paths], recursive=True)
    items = {}
    for file in found.files:
        taken = ingest.acquire_file(
            case=made, actor=operator, found=file, tool=f"{settings.SOFTWARE} ingest", source=known
        )
        items[taken.item.file_name] = str(taken.item.pk)
    return {"code": made.code, "id": str(made.pk), "items": items, "source": known.code}


def work(code: str) -> dict:
    """What people leave behind in a case: decisions, a note, a tag, an assignment, a finding, a half-sent file,
    a sealed identity, a request for a bundle, and one that was given to a court; their ids."""
    import pyrage

    from archive import annotate, cases, tus
    from archive.custody import Actor
    from archive.models import Case, User
    from evidence import bundle
    from evidence.redaction import verbs as redaction
    from tests.cast import signed_in
    from triage import elusion, examples, pipeline, questions, queue, review, rules, second_reading

    case = Case.objects.get(code=code)
    rania = User.objects.get(username=NAMES["researcher"][0])
    actor = signed_in(rania)
    first, second, *_ = case.items.order_by("number")
    review.decide(item=first, actor=actor, value="relevant", reason="The bridge is seen, says the ferryman")
    review.postpone(item=second, actor=actor, reason="Wait for the source's answer")
    asked = questions.ask(
        case=case, actor=actor, text="Does it show damage to a medical facility, or هل يظهر فيها مستشفى؟"
    )
    shown = queue.shown(first, asked)
    questions.answer(item=first, question=asked, actor=actor, value="yes", shown=shown)
    examples.give(item=second, question=asked, actor=actor)
    second_reading.set_share(question=questions.main(case), actor=actor, percent=50)
    lot = elusion.draw(question=asked, actor=actor, size=elusion.seen(asked).unseen)
    elusion.answer(drawn=lot, item=case.items.get(number=lot.drawn[0]), actor=actor, value="no")
    pipeline.set_criteria(
        case=case,
        question=asked,
        actor=actor,
        name="The bridge",
        reason="It is named by two witnesses",
        rules={
            "format": rules.FORMAT,
            "criteria": [{"name": "Bridge", "kind": "tagged", "any_of": ["bridge", "الجسر"], "weight": "5"}],
        },
    )
    annotate.note(item=first, actor=actor, text="اسأل هالة عن الجسر, then call +44 20 7946 0018.")
    annotate.tag(item=first, name="bridge", actor=actor)
    annotate.tag(item=first, name="الجسر", actor=actor)
    annotate.assign(item=first, to=rania, actor=actor)
    annotate.establish(
        item=first,
        about="place",
        basis="Shadow and skyline",
        latitude="35.1000",
        longitude="12.2000",
        actor=actor,
    )
    cases.set_identity(source=case.sources.get(), identity="An invented name, +44 20 7946 0018", actor=actor)
    half = tus.begin(
        case=case, actor=actor, announced=tus.Announced(length=9_000_000, file_name="half-sent.mp4")
    )
    redaction.begin(item=case.items.get(kind="video"), actor=actor)
    made = bundle.request(case=case, actor=actor, items=[first.pk], reason="For the court's expert")
    with tempfile.TemporaryDirectory() as folder:
        given = bundle.export(
            case=case,
            out=Path(folder) / "given.zip.age",
            actor=Actor.operator(),
            items=[first.pk, second.pk],
            destination="court",
            recipient="محكمة بيرا, second chamber, " + "with a name that is rather long " * 3,
            basis="Order 7/2026 of 2 November",
            approved_by="Lucía Ferrer",
            keys=(("محكمة بيرا", str(pyrage.x25519.Identity.generate().to_public())),),
            volume_size=2**16,
        )
    return {
        "bundle": str(made.pk),
        "given": str(given.pk),
        "half": str(half.pk),
        "person": str(rania.pk),
        "lot": str(lot.pk),
    }


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    what, *arguments = sys.argv[1:]
    print(
        json.dumps(
            {"people": people, "administrator": administrator, "case": case, "work": work}[what](*arguments)
        )
    )
