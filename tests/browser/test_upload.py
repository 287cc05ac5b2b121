"""Bringing material in when something goes wrong: the browser dies, the line breaks, a file is refused."""

import contextlib
import hashlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Request, expect

from tests.browser.product import UPLOAD_LIMIT, Product
from tests.browser.stock import NAMES
from tests.browser.windows import ARGUMENTS, chromium, sign_in
from tests.running import tree

CODE = "BREAKS-01"
PIECE = 16 * 1024**2  # one request of the page
BIG = 40 * 1024**2


@pytest.fixture(scope="module")
def case(product: Product) -> str:
    product.stock("case", CODE, "A line that breaks")
    return CODE


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("big") / "long recording.bin"
    path.write_bytes(os.urandom(BIG))
    return path


@pytest.fixture
def page(case: str, as_role: Callable[..., object]) -> Iterator[Page]:
    with as_role("researcher") as seen:
        seen.page.goto(f"/cases/{case}/add/")
        yield seen.page


def choose(page: Page, *paths: Path) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_text("Choose files").click()
    chooser.value.set_files(paths)


def offsets(product: Product, name: str) -> list[tuple[int, bool]]:
    """How far each upload of this name is, and whether it is finished."""
    rows = product.sql(
        "SELECT offset, finished_at IS NOT NULL FROM archive_upload WHERE file_name = ? ORDER BY created_at",
        name,
    )
    return [(offset, bool(done)) for offset, done in rows]


def held(product: Product, sha256: str) -> int:
    return product.sql(
        "SELECT count(*) FROM archive_item i JOIN archive_case c ON c.id = i.case_id "
        "WHERE c.code = ? AND i.blob_id = ?",
        CODE,
        sha256,
    )[0][0]


def slowly(page: Page, bytes_a_second: int = 12 * 1024**2) -> None:
    """Make the line of this page slow, so that there is a middle of an upload."""
    page.context.new_cdp_session(page).send(
        "Network.emulateNetworkConditions",
        {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": bytes_a_second},
    )


def kill(marker: str) -> None:
    """SIGKILL the browser that was started with this marker on its command line."""
    for pid in tree(os.getpid()):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ended while we looked
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
            if marker in words and not any(word.startswith("--type=") for word in words):
                os.kill(pid, signal.SIGKILL)
                return
    raise AssertionError("the browser is not there")


def test_a_browser_that_is_killed_loses_nothing_confirmed(product, case, big, browser, page):
    """Guards: a browser that dies loses nothing already confirmed; the file goes on where it stopped."""
    small = big.with_name("small.txt")
    small.write_text("confirmed before the browser died")
    marker = "--killed-by-a-test"
    dying = browser.browser_type.launch(executable_path=chromium(), args=[*ARGUMENTS, marker])
    victim = dying.new_context(base_url=product.url).new_page()
    sign_in(victim, NAMES["researcher"][0])
    victim.goto(f"/cases/{case}/add/")
    slowly(victim)
    choose(victim, small, big)
    expect(victim.locator("#rows .stored")).to_have_count(1)
    while not offsets(product, big.name) or offsets(product, big.name)[0][0] < PIECE:
        victim.wait_for_timeout(50)
    kill(marker)
    [(confirmed, finished)] = offsets(product, big.name)
    assert PIECE <= confirmed < BIG and not finished
    assert offsets(product, small.name) == [(small.stat().st_size, True)]

    page.reload()
    expect(page.get_by_text("1 file of yours is not whole yet")).to_be_visible()
    asked: list[Request] = []
    page.on("request", lambda r: asked.append(r) if r.method == "PATCH" else None)
    choose(page, small, big)
    expect(page.locator("#rows .held")).to_have_count(1)
    expect(page.locator("#rows .stored")).to_have_count(1)
    starts = [int(r.headers["upload-offset"]) for r in asked]
    assert starts[0] >= confirmed, "what was confirmed is not sent again"
    [(whole, finished)] = offsets(product, big.name)
    assert whole == BIG and finished
    assert held(product, hashlib.sha256(big.read_bytes()).hexdigest()) == 1
    assert product.sql("SELECT count(*) FROM archive_acquisition WHERE file_name = ?", big.name) == [(1,)]


def test_a_line_that_breaks_goes_on_by_itself(product, page, tmp_path):
    path = tmp_path / "second recording.bin"
    path.write_bytes(os.urandom(BIG))
    slowly(page)
    choose(page, path)
    while not offsets(product, path.name) or offsets(product, path.name)[0][0] < PIECE:
        page.wait_for_timeout(50)
    page.context.set_offline(True)
    page.wait_for_timeout(500)
    page.context.set_offline(False)
    expect(page.locator("#rows .stored")).to_have_count(1)
    assert offsets(product, path.name) == [(BIG, True)]
    assert held(product, hashlib.sha256(path.read_bytes()).hexdigest()) == 1


def test_a_file_above_the_limit_says_so_and_the_others_go_on(product, page, tmp_path):
    large, good = tmp_path / "too large.bin", tmp_path / "good.txt"
    with large.open("wb") as out:
        out.truncate(UPLOAD_LIMIT + 1)
    good.write_text("a good file among the others")
    choose(page, large, good)
    expect(page.locator("#rows .stored")).to_have_count(1)
    row = page.locator("#rows tr").filter(has_text=large.name)
    expect(row.locator(".failed")).to_have_text(
        "not stored: It is larger than the limit. Nothing of it was sent."
    )
    expect(page.locator("#summary")).to_have_text("1 of 2 confirmed stored · 1 not stored")
    assert offsets(product, large.name) == []


def test_who_is_signed_out_meanwhile_is_told_so(product, page, tmp_path):
    path = tmp_path / "late.txt"
    path.write_text("chosen after the session had ended")
    page.context.clear_cookies(name="amparo_session")
    choose(page, path)
    expect(page.locator("#rows .failed")).to_contain_text("You are signed out")
    assert offsets(product, path.name) == []


def test_stop_keeps_what_is_confirmed_and_try_again_goes_on(product, page, tmp_path):
    path = tmp_path / "third recording.bin"
    path.write_bytes(os.urandom(BIG))
    slowly(page)
    choose(page, path)
    while not offsets(product, path.name) or offsets(product, path.name)[0][0] < PIECE:
        page.wait_for_timeout(50)
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#rows .stopped")).to_have_count(1)
    page.get_by_role("button", name="Try again what was not stored").click()
    expect(page.locator("#rows .stored")).to_have_count(1)
    assert offsets(product, path.name) == [(BIG, True)]
