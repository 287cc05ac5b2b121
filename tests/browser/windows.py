"""Windows of headless Chromium. It comes from the system; nothing is downloaded."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, Request, expect

from tests.browser.product import Product
from tests.browser.stock import PASSWORD

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


def chromium() -> str:
    """Where the browser is. Skips the tests on a machine without one; ./test says that they were left out."""
    named = os.environ.get("AMPARO_CHROMIUM")
    found = (
        named or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    )
    if not found:
        pytest.skip("no Chromium on this machine; AMPARO_CHROMIUM may name one")
    return found


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


def sign_in(page: Page, username: str) -> None:
    """By the form, with the keyboard."""
    page.goto("/signin/")
    page.get_by_label("Sign-in name").fill(username)
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: urlsplit(url).path == "/")
