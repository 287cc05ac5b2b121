"""Real clicks in headless Chromium: `window` and `as_role` on the product as real processes, `visit` on Django's
live server for one screen at a time.

No window may ask another host, break the content security policy or throw an error: each says so when it closes.
Chromium comes from the system; nothing is downloaded.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.conf import settings
from playwright.sync_api import Browser, Page, sync_playwright

from archive.models import User
from tests import cast
from tests.browser.product import Product
from tests.browser.stock import NAMES
from tests.browser.windows import ARGUMENTS, Watched, chromium, sign_in, window

HERE = Path(__file__).parent
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"  # Playwright's loop runs in the thread that uses the ORM


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.timeout(600))


@pytest.fixture(scope="session")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """The instance that the tests of this process share. It has nobody and nothing in it at first."""
    chromium()
    made = Product(tmp_path_factory.mktemp("browser") / "instance")
    try:
        yield made.ready()
        made.stop()
    finally:
        made.run.end()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """For a module, not longer: Django's tests do not run beside Playwright's loop."""
    path = chromium()
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture(scope="session")
def signed_in() -> dict[str, dict]:
    """Cookies by role, so that each person signs in once."""
    return {}


@pytest.fixture(scope="module")
def as_role(browser: Browser, product: Product, signed_in: dict[str, dict]) -> Callable[..., object]:
    """`with as_role("legal") as seen:` a window in which the person of this role is signed in."""

    @contextmanager
    def open_window(role: str, **options: object) -> Iterator[Watched]:
        if role and role not in signed_in:
            product.stock("people")
            with window(browser, product) as door:
                sign_in(door.page, NAMES[role][0])
                signed_in[role] = door.context.storage_state()
        with window(browser, product, storage_state=signed_in.get(role), **options) as seen:
            yield seen

    return open_window


@pytest.fixture
def visit(browser: Browser, live_server) -> Iterator[Callable[..., Page]]:
    """visit(person, path, **context): a page of this person's signed-in browser. Console errors fail the test."""
    opened, faults = [], []

    def go(person: User | None, path: str, *, language: str = "en", **context) -> Page:
        place = browser.new_context(base_url=live_server.url, locale="en", **context)
        opened.append(place)
        cookies = {settings.LANGUAGE_COOKIE_NAME: language}
        if person is not None:
            cookies[settings.SESSION_COOKIE_NAME] = cast.browser(person).session.session_key
        place.add_cookies([{"name": k, "value": v, "url": live_server.url} for k, v in cookies.items()])
        page = place.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on(
            "console",
            lambda line: faults.append(line.text) if "Content Security Policy" in line.text else None,
        )
        page.goto(path)
        return page

    yield go
    for place in opened:
        place.close()
    assert not faults, faults
