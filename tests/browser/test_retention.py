"""Holds, requests to destroy and the certificate: wide and on a phone, in both languages, by keyboard, and by hand."""

from types import SimpleNamespace

import pytest
from playwright.sync_api import expect

from archive import access, cases, disposal, holds, jobs
from archive.models import Disposal
from tests import cast
from tests.browser.test_every_screen import axe_faults, keyboard_faults, outer_faults

pytestmark = pytest.mark.django_db(transaction=True)
WHY = {"reason": "The source withdrew consent. " * 6, "authority": "Consent form, clause 4"}
LOOKS = {
    "wide": ("en", {"viewport": {"width": 1440, "height": 900}}),
    "Arabic, dark": ("ar", {"viewport": {"width": 1024, "height": 900}, "color_scheme": "dark"}),
    "phone": ("en", {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}),
}


@pytest.fixture
def scene():
    """A case with something of each kind: a hold, requests that wait, one that was carried out."""
    asker, lawyer = cast.person("researcher"), cast.person("legal")
    case = cast.case(owner=asker, code="HARBOUR-02")
    for person in (asker, lawyer):
        cast.share(case, person, access.MANAGE)
    asking, answering = cast.signed_in(asker), cast.signed_in(lawyer)
    items = [cast.item(case, name="صورة من الميناء.jpg") for _ in range(4)]
    done, waits = (disposal.request(case=case, actor=asking, items=[item.pk], **WHY) for item in items[:2])
    disposal.approve(disposal=done, actor=answering)
    jobs.run_waiting("archive.dispose")
    source = cast.source(case, code="S-014", pseudonym="Cedar")
    cases.set_identity(source=source, identity="An invented name", actor=asking)
    identity = disposal.request_destruction(source=source, actor=answering, with_pseudonym=True, **WHY)
    holds.place(case=case, item=items[2], actor=answering, reason="محكمة بيرا, order 12/2026")
    return SimpleNamespace(
        case=case, asker=asker, lawyer=lawyer, items=items, done=done, waits=waits, identity=identity
    )


def test_screens_fit_are_reached_by_keyboard_and_have_nothing_that_axe_finds(scene, visit):
    places = {
        f"/cases/{scene.case.code}/retention/": scene.lawyer,
        f"/disposals/{scene.waits.pk}/": scene.lawyer,
        f"/disposals/{scene.identity.pk}/": scene.lawyer,
        f"/disposals/{scene.done.pk}/certificate": scene.lawyer,
        f"/items/{scene.items[0].pk}/": scene.lawyer,
        f"/items/{scene.items[2].pk}/": scene.asker,
        f"/cases/{scene.case.code}/sources/S-014/": scene.asker,
    }
    faults = []
    for name, (language, options) in LOOKS.items():
        for path, person in places.items():
            page = visit(person, path, language=language, **options)
            page.evaluate("document.querySelectorAll('main details').forEach(d => { d.open = true; })")
            found = outer_faults(page, language) + axe_faults(page)
            if name == "wide":
                found += keyboard_faults(page)
            faults += [f"{name}: {path}: {fault}" for fault in found]
            page.context.close()
    assert not faults, "\n".join(faults)


def test_enter_in_the_answer_destroys_nothing_and_the_button_does(scene, visit):
    page = visit(scene.lawyer, f"/disposals/{scene.waits.pk}/")
    page.get_by_label("In your words").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Control+Enter")
    assert Disposal.objects.get(pk=scene.waits.pk).state == "requested"
    page.get_by_role("button", name="Approve, and destroy").click()
    expect(page.get_by_text("Approved. A worker destroys the bytes now.")).to_be_visible()
    jobs.run_waiting("archive.dispose")
    page.reload()
    page.get_by_role("link", name="The certificate").click()
    expect(page.get_by_role("heading", name="Certificate of disposal")).to_be_visible()
