"""A real browser against a real server. Chromium comes from the system; nothing is downloaded."""

import os
import shutil
from collections.abc import Callable, Iterator

import pytest
from django.conf import settings
from playwright.sync_api import Browser, Page, sync_playwright

from archive.models import User
from tests import cast

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or "/usr/bin/chromium"
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"  # Playwright's loop runs in the thread that uses the ORM


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Browser, live_server) -> Iterator[Callable[..., Page]]:
    """visit(person, path, **context): a page of this person's signed-in browser. Console errors fail the test."""
    opened, faults = [], []

    def go(person: User | None, path: str, *, language: str = "en", **context) -> Page:
        place = chromium.new_context(base_url=live_server.url, locale="en", **context)
        opened.append(place)
        cookies = {settings.LANGUAGE_COOKIE_NAME: language}
        if person is not None:
            cookies[settings.SESSION_COOKIE_NAME] = cast.browser(person).session.session_key
        place.add_cookies([{"name": k, "value": v, "url": live_server.url} for k, v in cookies.items()])
        page = place.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda line: faults.append(line.text) if "Content Security Policy" in line.text else None)
        page.goto(path)
        return page

    yield go
    for place in opened:
        place.close()
    assert not faults, faults
