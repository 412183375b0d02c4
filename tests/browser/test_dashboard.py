"""The dashboard as somebody sees and uses it, in a real browser before a whole installation."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.browser.conftest import Harbour

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
Open = Callable[..., "Page"]
DESK: Final = {"width": 1280, "height": 900}


def listening(page: Page) -> None:
    """Wait until the page hears of changes, and mark it, so that a reload would be seen."""
    page.wait_for_selector("main[data-listening]", state="attached")
    page.evaluate("window.marked = true")


def stayed(page: Page) -> bool:
    return bool(page.evaluate("window.marked === true"))


def status(page: Page, word: str) -> None:
    page.wait_for_selector(f'h1 .status[data-status="{word}"]')


def test_a_run_is_watched_approved_and_replayed_with_another_input(open_page: Open, harbour: Harbour) -> None:
    page = open_page("/runs", viewport=DESK)
    listening(page)
    run = harbour.trigger("ship", {"name": "salt", "crates": 3})
    page.wait_for_selector(f'#list a[href="/runs/{run}"]')
    assert stayed(page), "the list was reloaded"
    page.click(f'#list a[href="/runs/{run}"]')
    status(page, "waiting")
    page.wait_for_selector('text="It asks: leave"')
    listening(page)
    page.click("summary:has-text('load')")
    page.wait_for_selector("details[open] >> text=3 crates of salt")
    page.wait_for_selector("#logs >> text=loading salt")
    page.fill("#asked input[name=by]", "Ada")
    page.fill("#asked input[name=comment]", "with the tide")
    page.click("#asked button:has-text('Approve')")
    page.wait_for_selector("text=The answer has been kept.")
    status(page, "completed")
    page.wait_for_selector('#bodies pre:has-text(\'"by": "Ada"\')')
    page.click("text=Replay with another input")
    page.fill("textarea[name=payload]", '{"name": 1}')
    page.click("button:has-text('Replay')")
    page.wait_for_selector("[role=alert] >> text=crates")
    page.fill("textarea[name=payload]", '{"name": "<i>wool</i>", "crates": 1}')
    page.click("button:has-text('Replay')")
    page.wait_for_url(re.compile(r"/runs/run_\w+\?said=replay"))
    status(page, "waiting")
    page.wait_for_selector("#bodies >> text=<i>wool</i>")
    assert page.get_attribute(f'#head a[href="/runs/{run}"]', "href")
    listening(page)
    page.fill("input[name=reason]", "enough")
    page.click("button:has-text('Cancel')")
    status(page, "cancelled")
    page.wait_for_selector("text=enough")


def test_a_run_is_forked_from_a_wait_and_takes_over_what_came_before(
    open_page: Open, harbour: Harbour
) -> None:
    run = harbour.trigger("ship", {"name": "rice", "crates": 2})
    page = open_page(f"/runs/{run}", viewport=DESK)
    page.wait_for_selector('text="It asks: leave"')
    page.click("summary:has-text('approval:leave')")
    page.click("details[open] >> text=Fork from here")
    page.wait_for_selector("li:has-text('step load')")
    page.click("button:has-text('Fork')")
    page.wait_for_url(re.compile(r"/runs/run_\w+\?said=fork"))
    status(page, "waiting")
    assert page.get_attribute(f'#head a[href="/runs/{run}"]', "href")
    page.wait_for_selector("#waterfall >> text=taken over")
    page.fill("#asked input[name=by]", "Ada")
    page.click("#asked button:has-text('Approve')")
    status(page, "completed")
    assert "loading rice" not in page.inner_text("#logs")


def test_a_run_page_follows_its_run_without_a_reload(open_page: Open, harbour: Harbour) -> None:
    run = harbour.trigger("ship", {"name": "tea", "crates": 1})
    page = open_page(f"/runs/{run}", viewport=DESK)
    status(page, "waiting")
    listening(page)
    page.focus("#asked input[name=comment]")
    page.keyboard.type("half a sen")
    harbour.until(f"/api/v1/history/runs/{run}", lambda found: found["run"]["status"] == "waiting")
    token = {"by": "Grace", "approved": True}
    harbour.client.post(f"/api/v1/tokens/{run}.leave/complete", json=token).raise_for_status()
    status(page, "completed")
    assert stayed(page)
    assert page.input_value("#asked input[name=comment]") == "half a sen", "what was being written is gone"


def test_errors_are_grouped_resolved_and_come_again(open_page: Open, harbour: Harbour) -> None:
    for number in (1, 22):
        harbour.trigger("leak", number)
    page = open_page("/errors?task=leak", viewport=DESK)
    listening(page)
    page.wait_for_selector("#list tbody tr:has-text('water')")
    page.wait_for_selector("#list tbody tr:has(td:text-is('4'))")  # two runs, two attempts each
    assert page.locator("#list tbody tr").count() == 1
    page.click("#list tbody a")
    page.wait_for_selector("pre >> text=<b>water</b>")
    page.fill("input[name=note]", "caulked")
    page.click("button:has-text('Resolve')")
    status(page, "resolved")
    page.wait_for_selector("text=caulked")
    listening(page)
    harbour.trigger("leak", 333)
    status(page, "reopened")
    assert stayed(page)


def test_the_first_stop_of_the_tab_key_skips_the_navigation(open_page: Open) -> None:
    page = open_page("/runs", viewport=DESK)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.url.endswith("#content")
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('.filters button')"):
            break
    else:
        pytest.fail("the filters' button can't be reached with the keyboard")


def test_a_schedule_is_paused_resumed_and_run(open_page: Open) -> None:
    page = open_page("/schedules", viewport=DESK)
    page.click("#list >> text=tide")
    page.wait_for_selector("#next tbody tr:nth-child(5)")
    assert "UTC" not in page.inner_text("#next tbody tr:first-child [data-local]") or page.evaluate(
        "Intl.DateTimeFormat().resolvedOptions().timeZone === 'UTC'"
    )
    page.click("button:has-text('Pause')")
    page.wait_for_selector("text=no tick starts a run")
    page.click("button:has-text('Run now')")
    page.wait_for_url(re.compile(r"/runs/run_\w+"))
    status(page, "completed")
    page.goto(page.url.partition("/runs/")[0] + "/schedules/tide")
    page.click("button:has-text('Resume')")
    page.wait_for_selector("text=Its ticks start runs again.")


def test_all_that_fit_a_filter_are_released_from_quarantine(open_page: Open, harbour: Harbour) -> None:
    for number in range(3):
        harbour.post("pull_request", b'{"action":"opened","number":"<i>%d</i>"}' % number)
    harbour.until("/api/v1/quarantine", lambda found: len(found["quarantine"]) == 3)
    page = open_page("/quarantine", viewport=DESK)
    page.fill("input[name=source]", "github")
    page.fill("input[name=reason]", "schema")
    page.keyboard.press("Enter")
    page.wait_for_selector("#list tbody tr:nth-child(3)")
    page.fill("input[name=why]", "<b>the schema was wrong</b>")
    page.click("button:has-text('Release…')")
    page.wait_for_selector("#progress >> text=3 entries of the quarantine would be released")
    page.wait_for_selector("text=Reason: <b>the schema was wrong</b>")
    page.click("button:has-text('Release 3')")
    page.wait_for_selector("#progress:has-text('3 of 3: 3 released') >> text=Done.")
    page.goto("/quarantine?source=github&reason=schema")
    page.wait_for_selector("text=No entry fits these filters.")
