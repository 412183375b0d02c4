"""Every page, light and dark, on a desk and on a phone: axe finds nothing, nothing scrolls sideways."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.browser.conftest import PICTURED, SETTINGS, SHOTS
from tests.browser.places import NO_PAGES, ROUTES, places, route_of
from tests.cli.conftest import Service
from tidemill.kernel.settings.keys import create_key, hash_key

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.browser.conftest import Harbour

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]
Open = Callable[..., "Page"]
SCREENS: Final = {"desk": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}
KEY: Final = create_key()
GUARDED: Final = f"""{SETTINGS}
[control]
keys = [{{ name = "ada", hash = "{hash_key(KEY)}", role = "viewer" }}]
"""
TASK: Final = """\
from tidemill import task


@task
async def rest() -> None: ...
"""


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an installation where one has to log in."""
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "tidemill.toml").write_text(GUARDED)
    (folder / "tasks.py").write_text(TASK)
    dev = Service(("dev", "tasks.py", "--port", "0", "--no-reload"), folder)
    try:
        yield dev.addresses()[0]
    finally:
        assert dev.end() == 0, "\n".join(dev.lines)


@pytest.fixture(scope="module")
def pages(harbour: Harbour, guarded: str) -> dict[str, str]:
    return places(harbour) | {"login": f"{guarded}/login?next=/runs"}


def wrongs(page: Page, name: str, axe: str) -> list[Any]:
    """Return what is wrong with a page that is open, with all that can be unfolded unfolded."""
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    page.evaluate(axe)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    wrong: list[Any] = [
        (name, one["id"], node["html"][:200]) for one in found["violations"] for node in one["nodes"][:3]
    ]
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = false")
    return [*wrong, (name, "scrolls sideways", f"{wide} px")] if wide > 0 else wrong


def picture(page: Page, name: str) -> None:
    """Leave a screenshot where a reviewer looks for them."""
    if PICTURED:
        page.screenshot(path=SHOTS / f"{name}.png", full_page=True)


def test_no_page_is_forgotten(pages: dict[str, str]) -> None:
    """What a browser can be led to is among the pages, or says what it is instead."""
    looked_at = {route_of(address) for address in pages.values()} - {None}
    assert set(ROUTES) - looked_at == set(NO_PAGES)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("screen", SCREENS)
def test_axe_finds_nothing_on_any_page(
    theme: str, screen: str, pages: dict[str, str], open_page: Open, axe: str
) -> None:
    SHOTS.mkdir(exist_ok=True)
    page = open_page("/", theme=theme, viewport=SCREENS[screen], color_scheme=theme)
    wrong = []
    for name, address in pages.items():
        answer = page.goto(address)
        assert answer is not None
        assert len(answer.body()) < 100_000, f"{name} is too large"
        wrong += wrongs(page, name, axe)
        picture(page, f"{name}-{theme}-{screen}")
    assert not wrong, "\n".join(map(str, wrong))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_login_that_fails_and_one_that_ended_are_told_well(
    theme: str, guarded: str, open_page: Open, axe: str
) -> None:
    page, wrong = open_page(f"{guarded}/login", theme=theme, viewport=SCREENS["phone"]), []
    page.fill("input[name=key]", "not a key")
    page.click("main button:has-text('Log in')")
    page.wait_for_selector("[role=alert]")
    wrong += wrongs(page, "login-failed", axe)
    picture(page, f"login-failed-{theme}-phone")
    page.fill("input[name=key]", KEY)
    page.click("main button:has-text('Log in')")
    page.wait_for_selector("h1:has-text('Overview')")
    for name in ("tasks", "quarantine", "dead", "sources", "schedules", "audit"):
        page.goto(f"{guarded}/{name}")
        wrong += wrongs(page, f"viewer-{name}", axe)
        picture(page, f"viewer-{name}-{theme}-phone")
    page.goto(f"{guarded}/test")
    kept = [cookie for cookie in page.context.cookies() if cookie["name"] == "tidemill-theme"]
    page.context.clear_cookies()
    page.context.add_cookies(kept)
    page.evaluate("document.querySelector('form[action=\"/logout\"]').submit()")
    page.wait_for_selector("h1:has-text('login')")
    wrong += wrongs(page, "login-ended", axe)
    picture(page, f"login-ended-{theme}-phone")
    assert not wrong, "\n".join(map(str, wrong))
