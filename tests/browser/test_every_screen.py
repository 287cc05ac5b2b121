"""Each screen, wide and on a phone, in both languages and both lights: nothing runs off the side, every control can be
reached by keyboard and shows it, axe-core finds nothing, and the security policy holds."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.product import Product, dishonest, photographs, video
from tests.browser.stock import NAMES
from tests.browser.windows import Watched, sign_in, window

AXE = Path(__file__).parents[1] / "vendor" / "axe-core" / "axe.min.js"
CODE, EMPTY = "HARBOUR-02", "EMPTY-01"
LONG_TITLE = "Harbour district, attack of 14 March, " + "a title that is rather long " * 5
LONG_NAME = "a name of two hundred characters " * 6 + ".jpg"
ARABIC_NAME = "صورة من الميناء ٣.jpg"

LOOKS = {  # width, language, light, whether axe-core looks, whether the keyboard walks through
    "wide": (1440, "en", "light", True, True),
    "small laptop, Arabic, dark": (1024, "ar", "dark", True, False),
    "phone, dark": (390, "en", "dark", False, False),
    "phone, Arabic": (390, "ar", "light", True, False),
}

SCREENS = {  # name: role, address
    "sign-in": ("", "/signin/"),
    "a link that was used": ("", "/signin/once/used-before"),
    "nothing here": ("researcher", "/nothing/here"),
    "home": ("researcher", "/"),
    "cases": ("researcher", "/cases/"),
    "open a case": ("researcher", "/cases/new"),
    "my account": ("researcher", "/account/"),
    "search": ("researcher", "/search/?q=a"),
    "overview": ("researcher", "/cases/{case}/"),
    "overview, empty": ("researcher", "/cases/{empty}/"),
    "overview, by an observer": ("observer", "/cases/{case}/"),
    "change the case": ("researcher", "/cases/{case}/edit"),
    "people with access": ("researcher", "/cases/{case}/people/"),
    "library": ("researcher", "/cases/{case}/library/"),
    "library, empty": ("researcher", "/cases/{empty}/library/"),
    "library, nothing found": ("researcher", "/cases/{case}/library/?q=zzz"),
    "add material": ("researcher", "/cases/{case}/add/"),
    "sources": ("researcher", "/cases/{case}/sources/"),
    "sources, empty": ("researcher", "/cases/{empty}/sources/"),
    "add a source": ("researcher", "/cases/{case}/sources/new"),
    "source": ("researcher", "/cases/{case}/sources/S-014/"),
    "queue": ("researcher", "/cases/{case}/review/"),
    "queue, empty": ("researcher", "/cases/{empty}/review/"),
    "queue, all": ("researcher", "/cases/{case}/review/?status=all"),
    "review, photograph": ("researcher", "/review/{photograph}/"),
    "review, video": ("researcher", "/review/{video}/"),
    "review, damaged": ("researcher", "/review/{broken}/"),
    "review, by an observer": ("observer", "/review/{photograph}/"),
    "queue of a question": ("researcher", "/cases/{case}/review/?question=1"),
    "queue, read by no model": ("researcher", "/cases/{case}/review/?status=unscored"),
    "review of a question": ("researcher", "/review/{photograph}/?question=1"),
    "review of a question, video": ("researcher", "/review/{video}/?question=1"),
    "questions": ("researcher", "/cases/{case}/questions/"),
    "questions, by an observer": ("observer", "/cases/{empty}/questions/"),
    "what was missed": ("researcher", "/cases/{case}/estimate/?width=20"),
    "what was missed, empty": ("observer", "/cases/{empty}/estimate/"),
    "what was missed, of a sample": ("researcher", "/cases/{case}/estimate/?question=1"),
    "sample by lot": ("researcher", "/samples/{lot}/"),
    "sample by lot, an item": ("researcher", "/samples/{lot}/{photograph}/"),
    "second readings": ("researcher", "/cases/{case}/second/"),
    "answers in doubt": ("researcher", "/cases/{case}/doubtful/"),
    "alerts": ("researcher", "/alerts/"),
    "alerts of a case": ("researcher", "/cases/{case}/alerts/"),
    "alerts of a case, by an observer": ("observer", "/cases/{case}/alerts/"),
    "where alerts may be sent": ("administrator", "/alerts/destinations/"),
    "items that look the same": ("researcher", "/review/{photograph}/group"),
    "models and rules": ("data_scientist", "/cases/{case}/criteria/"),
    "models and rules of a question": ("researcher", "/cases/{case}/criteria/?question=1"),
    "models and rules, by an observer": ("observer", "/cases/{case}/criteria/"),
    "item, photograph": ("researcher", "/items/{photograph}/"),
    "item, video": ("legal", "/items/{video}/"),
    "item, disguised": ("reviewer", "/items/{disguised}/"),
    "similar items, photograph": ("reviewer", "/items/{photograph}/similar/"),
    "similar items, frame of a video": ("researcher", "/items/{video}/similar/?at=1000&in=case"),
    "redact, photograph": ("legal", "/items/{photograph}/redact/"),
    "redact, text": ("researcher", "/items/{disguised}/redact/"),
    "redact, drawing in a video": ("researcher", "/items/{video}/redact/"),
    "custody": ("researcher", "/cases/{case}/custody/"),
    "custody of an item": ("legal", "/items/{photograph}/custody/"),
    "jobs of a case": ("researcher", "/cases/{case}/jobs/"),
    "bundles": ("researcher", "/cases/{case}/bundles/"),
    "bundles, without the permission": ("legal", "/cases/{empty}/bundles/"),
    "bundle": ("researcher", "/bundles/{bundle}/"),
    "bundle, given to a court": ("legal", "/bundles/{given}/"),
    "register of disclosures": ("researcher", "/cases/{case}/bundles/register"),
    "register of disclosures, empty": ("observer", "/cases/{empty}/bundles/register"),
    "all bundles": ("administrator", "/bundles/"),
    "all jobs": ("administrator", "/jobs/"),
    "people": ("administrator", "/people/"),
    "add a person": ("administrator", "/people/new"),
    "a person": ("administrator", "/people/{person}/"),
}


@pytest.fixture(scope="module")
def places(product: Product, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What stands in the addresses: a case with something of each kind in it, and an empty one."""
    folder = tmp_path_factory.mktemp("material") / "harbour"
    folder.mkdir()
    for name, photograph in zip((ARABIC_NAME, LONG_NAME), photographs(), strict=True):
        (folder / name).write_bytes(photograph.read_bytes())
    video(folder / "harbour.mp4", photographs(), seconds=4)
    dishonest(folder)
    made = product.stock("case", CODE, LONG_TITLE.strip(), str(folder))
    product.stock("case", EMPTY, "A case without anything in it")
    product.settled()
    left = product.stock("work", CODE)
    product.settled()
    items = made["items"]
    return left | {
        "case": CODE,
        "empty": EMPTY,
        "photograph": items[ARABIC_NAME],
        "video": items["harbour.mp4"],
        "broken": items["broken.jpg"],
        "disguised": items["statement.jpg"],
    }


@pytest.fixture(scope="module")
def look(as_role: Callable[..., object]) -> Iterator[Callable[[str, str], Watched]]:
    """look(role, name of a look): one window for each, opened when first asked for."""
    with ExitStack() as stack:
        opened: dict[tuple[str, str], Watched] = {}

        def open_once(role: str, name: str) -> Watched:
            if (role, name) not in opened:
                width, language, light, _, _ = LOOKS[name]
                options = {
                    "viewport": {"width": width, "height": 844 if width < 500 else 900},
                    "color_scheme": light,
                }
                seen = stack.enter_context(
                    as_role(role, is_mobile=width < 500, has_touch=width < 500, **options)
                )
                seen.context.add_cookies([{"name": "django_language", "value": language, "url": seen.url}])
                opened[role, name] = seen
            return opened[role, name]

        yield open_once


@pytest.mark.parametrize("name", SCREENS)
def test_screen(name: str, places, look):
    role, address = SCREENS[name]
    faults = []
    for kind, (_width, language, light, with_axe, with_keys) in LOOKS.items():
        seen = look(role, kind)
        page = seen.page
        answer = page.goto(address.format(**places))
        assert page.url == f"{seen.url}{address.format(**places)}"
        assert answer.status == (404 if name == "nothing here" else 200), kind
        found = outer_faults(page, language)
        if with_keys:
            found += keyboard_faults(page)
        if with_axe:
            found += axe_faults(page)
        if light == "dark":
            dark = page.evaluate(
                "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).every(n => n < 90)"
            )
            found += [] if dark else ["the page is not dark"]
        faults += [f"{kind}: {fault}" for fault in found + seen.complaints]
        seen.complaints.clear()
    assert not faults, "\n".join(faults)


def outer_faults(page: Page, language: str) -> list[str]:
    """Direction, language, width, names of pictures."""
    return page.evaluate(
        """language => {
          const root = document.documentElement, faults = [];
          const wanted = language === 'ar' ? 'rtl' : 'ltr';
          if (root.dir !== wanted || root.lang !== language) faults.push(`dir=${root.dir} lang=${root.lang}`);
          const over = document.scrollingElement.scrollWidth - innerWidth;
          if (over > 0) {
            const widest = [...document.querySelectorAll('body *')].filter(e => {
              const r = e.getBoundingClientRect();
              return r.width && (r.right > innerWidth + 1 || r.left < -1) && !e.closest('.scroll, .visually-hidden, .skip');
            }).slice(0, 3).map(e => `${e.tagName}.${e.className}`);
            faults.push(`${over} px too wide: ${widest}`);
          }
          for (const image of document.querySelectorAll('img:not([alt])')) faults.push(`no alt: ${image.src}`);
          return faults;
        }""",
        language,
    )


CONTROLS = "a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']"


def keyboard_faults(page: Page) -> list[str]:
    """Controls that Tab does not reach, or that do not show that they have the focus."""
    controls = page.evaluate(
        """controls => {
          const shown = e => e.checkVisibility({visibilityProperty: true}) && !e.disabled && e.tabIndex >= 0;
          const shows = e => {
            for (let n = e, up = 0; n && up < 3; n = n.parentElement, up += 1) {
              const style = getComputedStyle(n);
              if (style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 1) return true;
            }
            const before = e.previousElementSibling; // a field that is hidden behind its label
            return Boolean(before && before.tagName === 'LABEL' && getComputedStyle(before).outlineStyle !== 'none');
          };
          window.unreached = new Set([...document.querySelectorAll(controls)].filter(shown));
          window.unseen = [];
          document.addEventListener('focusin', event => {
            window.unreached.delete(event.target);
            if (event.target !== document.body && event.target.id !== 'main' && !shows(event.target)) unseen.push(event.target);
          });
          document.activeElement?.blur();
          return window.unreached.size;
        }""",
        CONTROLS,
    )
    for pressed in range(controls * 4 + 20):  # a date field takes several
        page.keyboard.press("Tab")
        if pressed >= controls and page.evaluate("window.unreached.size === 0"):
            break
    return page.evaluate(
        """() => {
          const say = e => `${e.tagName}#${e.id} ${(e.textContent || e.name || '').trim().slice(0, 40)}`;
          return [...[...unreached].map(e => `Tab does not reach ${say(e)}`), ...unseen.map(e => `no visible focus: ${say(e)}`)];
        }"""
    )


def axe_faults(page: Page) -> list[str]:
    """What axe-core finds. Run by the debugger, so the page's own policy stays in force."""
    page.evaluate(AXE.read_text())
    violations = page.evaluate("axe.run(document, {resultTypes: ['violations']}).then(r => r.violations)")
    return [
        f"{v['id']}: {v['help']}: " + "; ".join(n["html"][:120] for n in v["nodes"][:3]) for v in violations
    ]


# --- without script -------------------------------------------------------------------------------------------------


def test_without_script_one_can_sign_in_look_and_decide(product: Product, places, browser):
    with window(browser, product, java_script_enabled=False) as seen:
        page = seen.page
        sign_in(page, NAMES["administrator"][0])
        item = places["broken"]
        page.goto(f"/review/{item}/")
        expect(page.locator("#stage .sharp")).to_have_count(0)
        page.get_by_role("button", name="Look", exact=True).click()
        expect(page.locator("#stage img.sharp")).to_be_visible()
        assert product.events(f"item:{item}", "item.viewed") == 1
        page.get_by_role("button", name="Second look").click()
        page.wait_for_url(lambda url: item not in url)
        assert product.events(f"item:{item}", "item.decided") == 1
        expect(page.locator("#stage .sharp")).to_have_count(0)
