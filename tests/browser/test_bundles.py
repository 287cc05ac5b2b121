"""A bundle on its page, from waiting to built, without loading it again; cancelled by keyboard."""

import pytest
from playwright.sync_api import expect

from archive import access, jobs
from evidence import bundle, report
from evidence.models import BundleWork
from evidence.work import Work
from tests import cast
from tests.flows.bundles import blank

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def rania():
    return cast.person("researcher")


@pytest.fixture
def case(rania):
    made = cast.case(owner=rania, code="HARBOUR-1")
    cast.share(made, rania, access.EXPORT)
    cast.item(made)
    return made


def test_progress_is_told_until_it_is_built(visit, case, rania, monkeypatch):
    monkeypatch.setattr(report._Maker, "_print", blank)
    made = bundle.request(case=case, actor=cast.signed_in(rania))
    page = visit(rania, f"/bundles/{made.pk}/")
    words, bar = page.locator("[data-words]"), page.locator("#progress progress")
    expect(words).to_have_text("It waits for a worker.")
    Work(made)("write", 3_000_000, 6_000_000)
    expect(words).to_contain_text("3.0 MB")
    assert bar.evaluate("bar => bar.value / bar.max") == 0.5
    expect(page.locator("#said")).to_contain_text("Files:")
    page.evaluate("window.same = true")
    BundleWork.objects.all().delete()
    jobs.run_waiting("evidence.build")
    expect(page.get_by_role("button", name="Download the bundle (logged)")).to_be_visible()
    expect(page.locator("#said")).to_contain_text("built")
    assert page.evaluate("window.same"), "the page was loaded again"
    with page.expect_download() as taken:
        page.get_by_role("button", name="Download the bundle (logged)").click()
    assert taken.value.suggested_filename == f"{made.name}.zip"


def test_cancelling_by_keyboard(visit, case, rania):
    made = bundle.request(case=case, actor=cast.signed_in(rania))
    page = visit(rania, f"/bundles/{made.pk}/", language="ar")
    page.locator("#progress button").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#bundle > .sentence")).to_contain_text("أُلغيت")
    made.refresh_from_db()
    assert made.state == "cancelled"


def test_conflict_is_shown_at_the_form_and_overridden_with_a_reason(visit, case, rania):
    from tests.flows.test_bundle_terms import of

    of(cast.source(case, code="S-1", consent_informed="yes"), case.items.get())
    page = visit(rania, "/cases/HARBOUR-1/bundles/", viewport={"width": 390, "height": 800}, is_mobile=True)
    page.get_by_label("Destination").select_option("court")
    page.get_by_label("Recipient").fill("Court of Beira")
    page.get_by_label("Mandate or legal basis").fill("Order 7/2026")
    page.get_by_label("Why").fill("For the hearing")
    page.get_by_role("button", name="Build the bundle").click()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("it is not recorded that it may be handed to courts")
    page.get_by_label("Export all the same, because").fill("The family asked for it")
    page.get_by_role("button", name="Build the bundle").click()
    expect(page.get_by_text("The family asked for it")).to_be_visible()
