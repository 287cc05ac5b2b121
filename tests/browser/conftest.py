"""Real clicks in headless Chromium: `window` and `as_role` on the product as real processes, `visit` on Django's
live server for one screen at a time.

No window may ask another host, break the content security policy or throw an error: each says so when it closes.
Chromium comes from the system; nothing is downloaded.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from playwright.sync_api import Browser, BrowserContext, Locator, Page, Request, expect, sync_playwright

from archive.models import User
from tests import cast
from tests.browser.product import Product
from tests.browser.stock import NAMES, PASSWORD

HERE = Path(__file__).parent
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]
WAIT_MS = 30_000
expect.set_options(timeout=WAIT_MS)
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"  # Playwright's loop runs in the thread that uses the ORM


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.timeout(420))


def chromium() -> str:
    """Where the browser is. Skips the tests on a machine without one; ./test says that they were left out."""
    named = os.environ.get("AMPARO_CHROMIUM")
    found = (
        named or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    )
    if not found:
        pytest.skip("no Chromium on this machine; AMPARO_CHROMIUM may name one")
    return found


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


class Watched:
    """A browser window with a memory: what it asked for, and what it complained about."""

    def __init__(self, context: BrowserContext, page: Page, url: str) -> None:
        self.context, self.page, self.url = context, page, url
        self.requests: list[Request] = []
        self.complaints: list[str] = []
        context.on("request", self._asked)
        context.on("console", lambda told: self._told(told.type, told.text))
        context.on("weberror", lambda told: self.complaints.append(str(told.error)))

    def _asked(self, request: Request) -> None:
        self.requests.append(request)
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and not request.url.startswith(f"{self.url}/"):
            self.complaints.append(f"asked another host: {request.url}")

    def _told(self, kind: str, text: str) -> None:
        if "Content Security Policy" in text or kind == "error" and "Failed to load resource" not in text:
            self.complaints.append(f"{kind}: {text}")


@contextmanager
def window(browser: Browser, product: Product, **options: object) -> Iterator[Watched]:
    """A window of its own, with its own cookies. Fails when it had anything to complain about."""
    context = browser.new_context(base_url=product.url, **options)
    context.set_default_timeout(WAIT_MS)
    watched = Watched(context, context.new_page(), product.url)
    try:
        yield watched
        assert not watched.complaints, "\n".join(watched.complaints)
    finally:
        context.close()


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


def until(video: Locator, sentence: str) -> None:
    """Wait for something to be true of `v` (Playwright's own waiting would need eval, which the pages forbid)."""
    for _ in range(WAIT_MS // 50):
        if video.evaluate(f"v => {sentence}"):
            return
        video.page.wait_for_timeout(50)
    now = video.evaluate("v => [v.currentTime, v.duration, v.readyState, v.seeking, v.paused]")
    raise AssertionError(
        f"never came true: {sentence}; currentTime, duration, readyState, seeking, paused: {now}"
    )


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


def sign_in(page: Page, username: str) -> None:
    """By the form, with the keyboard."""
    page.goto("/signin/")
    page.get_by_label("Sign-in name").fill(username)
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: urlsplit(url).path == "/")
