"""The whole job by one person, with a mouse, a keyboard and real media. The tests follow each other in one window."""

import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from playwright.sync_api import Browser, Page, expect

from archive.keys import KEYS
from tests.browser.product import ROOT, Product, material, seconds_of
from tests.browser.windows import Watched, until, window

CODE = "KALAT-01"
VERIFIER = ROOT / "evidence" / "verifier" / "verify_bundle.py"
LONG_MS = 240_000


@pytest.fixture(scope="module")
def seen(browser: Browser, product: Product) -> Iterator[Watched]:
    with window(browser, product, viewport={"width": 1440, "height": 900}, accept_downloads=True) as opened:
        yield opened


@pytest.fixture(scope="module")
def page(seen: Watched) -> Page:
    return seen.page


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return material(tmp_path_factory.mktemp("material") / "card 3")


def items(product: Product) -> dict[str, str]:
    """Ids of the case's items by the name they came with."""
    rows = product.sql(
        "SELECT a.file_name, i.id FROM archive_item i JOIN archive_acquisition a ON a.item_id = i.id "
        "JOIN archive_case c ON c.id = i.case_id WHERE c.code = ?",
        CODE,
    )
    return {name: str(UUID(pk)) for name, pk in rows}


def here(page: Page) -> str:
    """The item whose review page is open."""
    return page.url.split("/review/")[1].split("/")[0]


def sharp(product: Product, seen: Watched, since: int = 0) -> list[str]:
    """Addresses that the browser asked for behind which there are sharp bytes."""
    veils = {
        f"/renditions/{UUID(pk)}"
        for (pk,) in product.sql("SELECT id FROM archive_rendition WHERE kind = 'veil'")
    }
    asked = [r.url.removeprefix(seen.url) for r in seen.requests[since:]]
    bytes_ = [a for a in asked if a.startswith("/renditions/") or a.endswith(("/stream", "/original"))]
    return [a for a in bytes_ if a not in veils]


def decisions(product: Product, item: str) -> list[tuple]:
    return product.sql(
        "SELECT value, reason FROM archive_decision WHERE item_id = ? ORDER BY at", UUID(item).hex
    )


# --- in -------------------------------------------------------------------------------------------------------------


def test_the_one_time_link_signs_in_once(product, seen, page, browser):
    link = product.stock("administrator", "amina", "Amina Saleh")["link"]
    page.goto(link)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/account/")
    with window(browser, product) as second:
        second.page.goto(link)
        second.page.get_by_role("button", name="Sign in").click()
        expect(second.page.get_by_role("alert")).to_be_visible()


def test_a_case_is_opened(page):
    page.goto("/")
    page.get_by_role("link", name="Open a case").first.click()
    page.get_by_label("Code").fill(CODE)
    page.get_by_label("Title").fill("River crossing at Kalat, 3 May")
    page.get_by_role("button", name="Open the case").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("River crossing at Kalat, 3 May")
    expect(page.get_by_text("This case is empty")).to_be_visible()


def test_a_folder_is_brought_in_and_each_file_is_confirmed(product, page, folder):
    page.get_by_role("link", name="Add material").first.click()
    with page.expect_file_chooser() as chooser:
        page.get_by_text("Choose a folder").click()
    chooser.value.set_files(folder)
    names = {p.name for p in folder.iterdir()}
    rows = page.locator("#rows tr")
    expect(rows).to_have_count(len(names))
    expect(page.locator("#rows .stored")).to_have_count(len(names), timeout=LONG_MS)
    expect(page.locator("#summary")).to_have_text(f"{len(names)} of {len(names)} confirmed stored")
    assert {row.split("\t")[0].split("/")[-1] for row in rows.all_inner_texts()} == names
    assert set(items(product)) == names


def test_the_same_files_again_are_told_before_they_are_sent(product, seen, page, folder):
    page.reload()
    since, chosen = len(seen.requests), sorted(folder.iterdir())[:3]
    with page.expect_file_chooser() as chooser:
        page.get_by_text("Choose files").click()
    chooser.value.set_files(chosen)
    expect(page.locator("#rows .held")).to_have_count(3)
    expect(page.locator("#rows tr").first).to_contain_text(f"the case holds it already as {CODE}/")
    sent = [r.url for r in seen.requests[since:] if "/add/files" in r.url]
    assert sent == []
    assert len(product.sql("SELECT id FROM archive_acquisition WHERE file_name = ?", chosen[0].name)) == 1


def test_files_that_are_not_what_they_say_are_kept_and_said(product, page, folder):
    product.settled()
    found = items(product)
    page.goto(f"/items/{found['statement.jpg']}/")
    expect(page.locator("#main")).to_contain_text("the name ends in .jpg, but the content is text/plain")
    page.goto(f"/items/{found['broken.jpg']}/")
    expect(page.locator("#main .sentence").first).to_contain_text("amaged")
    page.goto(f"/cases/{CODE}/library/")
    expect(page.locator(".cards .card")).to_have_count(len(found))


def test_every_step_came_to_an_end(product, page):
    page.goto(f"/cases/{CODE}/jobs/")
    assert product.sql("SELECT name, error FROM archive_job WHERE state = 'failed'") == []
    page.goto(f"/cases/{CODE}/")
    expect(page.locator("#main")).to_contain_text("every original was read back after storing, and matches")


# --- order ----------------------------------------------------------------------------------------------------------


def test_the_queue_states_its_order_and_which_models_looked(product, page):
    page.goto(f"/cases/{CODE}/review/")
    scores = [float(s) for s in page.locator("tr:not(:has(.lot)) .scored .chip").all_inner_texts()]
    assert len(scores) > 1 and scores == sorted(scores, reverse=True)
    expect(page.locator(".sentences")).to_contain_text("A low score hides nothing")
    expect(page.locator(".queue-table tbody tr")).to_have_count(len(items(product)))
    notice = page.locator("#main > .sentence.warn")
    if product.has_weights:
        expect(notice).to_have_count(0)
    else:
        expect(notice).to_contain_text("OpenCV")


# --- review by keyboard -----------------------------------------------------------------------------------------------


def test_nothing_sharp_reaches_the_browser_before_v(product, seen, page):
    since = len(seen.requests)
    page.keyboard.press("j")
    page.wait_for_url("**/review/*/")
    page.wait_for_load_state("networkidle")
    item = here(page)
    assert page.locator("#stage").get_attribute("data-veiled") is not None
    assert sharp(product, seen, since) == [] and product.events(f"item:{item}", "item.viewed") == 0
    page.keyboard.press("v")
    expect(page.locator("#stage .sharp")).to_be_visible()
    assert sharp(product, seen, since)
    assert product.events(f"item:{item}", "item.viewed") == 1
    page.keyboard.press("v")
    expect(page.locator("#stage .sharp")).to_be_hidden()
    page.keyboard.press("v")
    expect(page.locator("#stage .sharp")).to_be_visible()


def test_b_takes_the_boxes_off_and_on(page):
    boxes = page.locator("#boxes")
    expect(boxes).to_be_visible()
    page.keyboard.press("b")
    expect(boxes).to_be_hidden()
    page.keyboard.press("b")
    expect(boxes).to_be_visible()


def test_question_mark_shows_all_keys(page):
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    expect(dialog.get_by_role("listitem")).to_have_count(len(KEYS))
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()


def test_digits_decide_and_u_takes_back_without_erasing(product, page):
    item = here(page)
    page.keyboard.press("1")
    page.wait_for_url(lambda url: item not in url)
    assert decisions(product, item) == [("relevant", "")]
    assert page.locator("#stage").get_attribute("data-veiled") is not None, "the next item is veiled again"
    page.keyboard.press("u")
    page.wait_for_url(f"**/review/{item}/")
    expect(page.locator(".messages")).to_contain_text("Both stay in the history")
    assert [value for value, _ in decisions(product, item)] == ["relevant", "withdrawn"]
    assert product.events(f"item:{item}", "item.decided") == 1
    assert product.events(f"item:{item}", "item.decision_withdrawn") == 1
    page.keyboard.press("2")
    page.wait_for_url(lambda url: item not in url)
    assert decisions(product, item)[-1] == ("not_relevant", "")


def test_escalating_needs_a_reason_that_r_lets_one_write(product, page):
    item = here(page)
    page.keyboard.press("4")
    expect(page.locator("form.decide .error")).to_be_visible()
    assert decisions(product, item) == []
    reason = page.get_by_label("Reason")
    page.keyboard.press("Escape")
    page.keyboard.press("r")
    expect(reason).to_be_focused()
    page.keyboard.type("Two officers are to look at 1, 2 and 3")
    assert here(page) == item, "keys rest while one writes"
    page.keyboard.press("Escape")
    page.keyboard.press("4")
    page.wait_for_url(lambda url: item not in url)
    assert decisions(product, item) == [("escalate", "Two officers are to look at 1, 2 and 3")]


def test_p_postpones_with_a_reason_and_j_goes_on(product, page):
    item = here(page)
    page.keyboard.press("r")
    page.keyboard.type("Ask the source first")
    page.keyboard.press("Escape")
    page.keyboard.press("p")
    page.wait_for_url(lambda url: item not in url)
    assert product.events(f"item:{item}", "item.postponed") == 1
    second = here(page)
    page.keyboard.press("j")
    page.wait_for_url(lambda url: second not in url)
    assert decisions(product, second) == []
    third = here(page)
    page.keyboard.press("3")
    page.wait_for_url(lambda url: third not in url)
    assert decisions(product, third) == [("second_look", "")]


def test_a_click_on_the_lane_seeks_the_video_by_range(product, seen, page):
    longest = product.sql(
        "SELECT i.id FROM archive_item i JOIN archive_case c ON c.id = i.case_id "
        "WHERE c.code = ? AND i.kind = 'video' ORDER BY i.duration_ms DESC",
        CODE,
    )[0][0]
    statuses: list[int] = []
    page.on("response", lambda r: statuses.append(r.status) if r.url.endswith("/stream") else None)
    page.goto(f"/review/{UUID(longest)}/")
    expect(page.get_by_role("button", name="play")).to_be_disabled()
    page.keyboard.press("v")
    video = page.locator("video.sharp")
    expect(video).to_be_visible()
    until(video, "v.readyState >= 1")
    length = video.evaluate("v => v.duration")
    lane = page.locator("[data-seek]").first
    box = lane.bounding_box()
    lane.click(position={"x": box["width"] * 0.75, "y": box["height"] / 2})
    until(video, "Math.abs(v.currentTime - v.duration * 0.75) < 1 && !v.seeking")
    assert statuses and set(statuses) == {206}
    assert abs(seconds_of(page.locator("#now").inner_text()) - length * 0.75) < 2
    before = video.evaluate("v => v.currentTime")
    page.keyboard.press(",")
    until(video, f"v.currentTime < {before} && !v.seeking")
    page.keyboard.press("k")
    until(video, "!v.paused && v.currentTime > 0")
    page.keyboard.press("k")
    until(video, "v.paused")


# --- out --------------------------------------------------------------------------------------------------------------


def test_exporting_waits_for_its_own_permission(page):
    page.goto(f"/cases/{CODE}/bundles/")
    expect(page.get_by_role("button", name="Build the bundle")).to_have_count(0)
    page.goto(f"/cases/{CODE}/people/")
    page.get_by_label("Sign-in name").fill("amina")
    for words in ("export lists and bundles", "change the case, share it"):
        page.get_by_label(words).check()
    page.get_by_role("button", name="Set the access").click()
    expect(page.get_by_text("The access of Amina Saleh is set.")).to_be_visible()


@pytest.fixture(scope="module")
def bag(product: Product, page: Page, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of the case, asked for and taken out in the browser, unpacked."""
    page.goto(f"/cases/{CODE}/bundles/")
    page.get_by_label("Why", exact=True).fill("For the commission's forensic expert")
    page.get_by_role("button", name="Build the bundle").click()
    page.wait_for_url(re.compile("/bundles/[0-9a-f-]{36}/"))
    product.settled()
    page.reload()
    with page.expect_download() as taken:
        page.get_by_role("button", name="Download the bundle").click()
    folder = tmp_path_factory.mktemp("stranger")
    taken.value.save_as(folder / "bundle.zip")
    with zipfile.ZipFile(folder / "bundle.zip") as z:
        z.extractall(folder)
    shutil.copy(VERIFIER, folder)
    return next(p for p in folder.iterdir() if p.is_dir())


def verified(bag: Path, *arguments: str) -> tuple[int, str]:
    """What the standalone verifier says, outside the project and isolated from it."""
    command = [sys.executable, "-I", bag.parent / VERIFIER.name, bag, *arguments]
    ended = subprocess.run(command, cwd=bag.parent, env={"PATH": "/nowhere"}, capture_output=True, text=True)
    return ended.returncode, ended.stdout + ended.stderr


def test_a_stranger_verifies_the_bundle(product, page, bag):
    key = page.locator("dd [data-copy]").first.get_attribute("data-copy")
    status, said = verified(bag)
    assert status == 3 and "could not check who signed" in said, said  # nobody told this stranger the key
    status, said = verified(bag, "--key", key)
    assert status == 0, said
    assert f"{len(items(product))} originals" in said and "bad" not in said.splitlines()[-1]
    assert product.sql("SELECT count(*) FROM archive_custodyevent WHERE type = 'bundle.downloaded'") == [(1,)]
    withdrawn = [
        d for d in json.loads((bag / "data/decisions.json").read_text()) if d["value"] == "withdrawn"
    ]
    assert len(withdrawn) == 1


def test_one_flipped_bit_in_a_file_of_the_bundle_is_caught(bag):
    """Every fifth file here; tests/flows/test_bundle.py takes every one."""
    files = sorted(p for p in bag.rglob("*") if p.is_file())
    assert len(files) > 20
    for number, path in enumerate(files[::5]):
        whole = path.read_bytes()
        if not whole:
            continue
        spoiled = bytearray(whole)
        spoiled[number * 7919 % len(whole)] ^= 1 << number % 8
        path.write_bytes(spoiled)
        status, said = verified(bag)
        assert status == 1, f"{path.relative_to(bag)}:\n{said}"
        path.write_bytes(whole)
    assert verified(bag)[0] == 3


def test_the_log_of_all_this_verifies(product):
    said = product.manage("custody", "verify")
    assert "good" in said.lower() or "verified" in said.lower(), said
