"""Make the pictures of this folder anew:  .venv/bin/python -m docs.screenshots.make [NAME ...]

Starts an instance of its own, fills it with real media (TEST_MEDIA, or else the photographs of the ultralytics package),
lets the workers look at them, does a piece of work as a researcher, and takes the pictures with the system's Chromium.
"""

import io
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.product import Product, material, photographs
from tests.browser.stock import NAMES
from tests.browser.windows import ARGUMENTS, chromium, sign_in

HERE = Path(__file__).parent
LIMIT = 300_000  # bytes of one picture
UPLOAD_LIMIT = 2_000_000_000
CODE = "KALAT-01"
WIDE, PHONE = (1440, 900), (390, 844)


def main(names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        files = material(place / "material")
        for path in photographs():
            (files / path.name).write_bytes(path.read_bytes())
        product = Product(place / "instance", AMPARO_UPLOAD_LIMIT=str(UPLOAD_LIMIT)).ready()
        try:
            case = product.stock("case", CODE, "River crossing at Kalat, 3 May", str(files))
            product.settled()
            left = product.stock("work", CODE)
            product.settled()
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
                decide(Desk(browser, product, case["items"], left, place))
                product.manage("custody", "checkpoint")
                for name, take in PICTURES.items():
                    if not names or name in names:
                        keep(HERE / f"{name}.png", take(Desk(browser, product, case["items"], left, place)))
                browser.close()
            product.stop()
        finally:
            product.run.end()


class Desk:
    """What a picture is taken of: a browser on an instance with a case that is worked on."""

    def __init__(self, browser: Browser, product: Product, items: dict, left: dict, place: Path) -> None:
        self.browser, self.product, self.items, self.left, self.place = browser, product, items, left, place

    def page(self, address: str, *, size: tuple[int, int] = WIDE, language: str = "en") -> Page:
        """A page of the researcher's."""
        phone = size[0] < 500
        context = self.browser.new_context(
            base_url=self.product.url,
            viewport={"width": size[0], "height": size[1]},
            is_mobile=phone,
            has_touch=phone,
            device_scale_factor=2 if phone else 1,
        )
        page = context.new_page()
        sign_in(page, NAMES["researcher"][0])
        context.add_cookies([{"name": "django_language", "value": language, "url": self.product.url}])
        page.goto(address)
        page.wait_for_load_state("networkidle")
        return page

    def item(self, *names: str) -> str:
        """The id of the first of these files that the case holds."""
        return next(self.items[name] for name in names if name in self.items)


# --- the pictures ---------------------------------------------------------------------------------------------------


def decide(desk: Desk) -> None:
    """A few items from the top of the queue, by keyboard, so that the pictures show work that has begun."""
    page = desk.page(f"/cases/{CODE}/review/?kind=image")
    page.keyboard.press("j")
    for key in "1223":
        page.wait_for_url("**/review/*/*")
        page.wait_for_load_state("networkidle")
        item = page.url
        page.keyboard.press(key)
        page.wait_for_url(lambda url, item=item: url != item)
    page.context.close()


def look(page: Page) -> Page:
    page.locator("form#veil button").click()
    page.locator("#stage .sharp").wait_for()
    page.wait_for_timeout(800)
    return page


def review(desk: Desk) -> Page:
    """A video, at the first moment in which most is suggested."""
    page = look(desk.page(f"/review/{desk.item('one-by-one-person-detection.mp4', 'street.mp4')}/"))
    page.evaluate(
        """() => {
          const seen = {};
          for (const g of document.querySelectorAll('.boxes .timed')) seen[g.dataset.at] = (seen[g.dataset.at] || 0) + 1;
          const best = Object.entries(seen).sort((a, b) => b[1] - a[1] || a[0] - b[0])[0];
          document.querySelector('video.sharp').currentTime = Number(best[0]) / 1000;
        }"""
    )
    page.wait_for_timeout(1500)
    return page


def review_in_arabic(desk: Desk) -> Page:
    return look(desk.page(f"/review/{desk.item('kite_and_cold.jpg', 'bus.jpg')}/", language="ar"))


def review_on_a_phone(desk: Desk) -> Page:
    return desk.page(f"/review/{desk.item('bus.jpg')}/", size=PHONE)


def upload(desk: Desk) -> Page:
    """Some files new, some held already, one that is no photograph."""
    fresh = desk.place / "card 4"
    fresh.mkdir(exist_ok=True)
    for number, path in enumerate(photographs()):
        picture = Image.open(path).rotate(90 * (number + 1), expand=True)
        picture.save(fresh / f"IMG_{2041 + number}.jpg", quality=85)
    (fresh / "notes.txt").write_text("What the driver said about the bridge.\n")
    (fresh / "copy of bus.jpg").write_bytes(photographs()[0].read_bytes())
    with (fresh / "whole day.mov").open("wb") as out:
        out.truncate(UPLOAD_LIMIT + 1_200_000_000)
    page = desk.page(f"/cases/{CODE}/add/")
    page.locator("#folder").set_input_files(fresh)
    page.locator("#rows .stored").nth(2).wait_for()
    page.wait_for_timeout(500)
    return page


PICTURES: dict[str, Callable[[Desk], Page]] = {
    "review": review,
    "review-ar": review_in_arabic,
    "review-phone": review_on_a_phone,
    "library": lambda desk: desk.page(f"/cases/{CODE}/library/"),
    "queue": lambda desk: desk.page(f"/cases/{CODE}/review/"),
    "case": lambda desk: desk.page(f"/cases/{CODE}/"),
    "custody": lambda desk: desk.page(f"/items/{desk.item('bus.jpg')}/custody/"),
    "bundle": lambda desk: desk.page(f"/bundles/{desk.left['bundle']}/"),
    "upload": upload,
}


def keep(path: Path, page: Page) -> None:
    """Write a picture as it is, or else with as many colours as the limit lets it keep.

    The octree comes last but keeps rare colours: violet must stay violet, since it says that a machine speaks.
    """
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    page.context.close()
    for method in (None, Image.Quantize.MEDIANCUT, Image.Quantize.FASTOCTREE):
        small = picture if method is None else picture.quantize(256, method, dither=Image.Dither.NONE)
        out = io.BytesIO()
        small.save(out, "PNG", optimize=True)
        if out.tell() < LIMIT:
            break
    path.write_bytes(out.getvalue())
    print(f"{path.name}  {picture.width}x{picture.height}  {out.tell():,} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
