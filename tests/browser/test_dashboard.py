"""The dashboard as somebody sees and uses it, in a real browser before a whole installation."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import pytest

from tests.browser.conftest import PICTURED, SHOTS

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.browser.conftest import Harbour

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
Open = Callable[..., "Page"]
PHONE: Final = {"width": 390, "height": 844}
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


def _selected(harbour: Harbour, action: str, **where: str) -> str:
    answer = harbour.client.post("/api/v1/bulk", json={"action": action, "where": where, "reason": "<b>"})
    return str(answer.raise_for_status().json()["token"])


def _executed(harbour: Harbour, action: str, **where: str) -> str:
    token = _selected(harbour, action, **where)
    harbour.client.post(f"/api/v1/bulk/{token}/execute").raise_for_status()
    harbour.until(f"/api/v1/bulk/{token}", lambda found: found["state"] == "done")
    return token


@pytest.fixture(scope="module")
def pages(harbour: Harbour) -> dict[str, str]:
    """Every page, with something of every kind on it."""
    run = harbour.trigger("ship", {"name": "<script>alert(1)</script>", "crates": 4})
    failed, sailing = harbour.trigger("leak", 4444), harbour.trigger("sail", 9)
    harbour.until(f"/api/v1/history/runs/{run}", lambda found: found["run"]["status"] == "waiting")
    harbour.until(f"/api/v1/history/runs/{sailing}", lambda found: found["run"]["status"] == "running")
    harbour.until(f"/api/v1/history/runs/{failed}", lambda found: found["run"]["status"] == "failed")
    harbour.until("/api/v1/dead", lambda found: found["dead"])
    (group,) = harbour.until("/api/v1/history/errors?task=leak", lambda found: found["errors"])["errors"]
    harbour.client.post("/api/v1/schedules/tide:yearly/pause").raise_for_status()
    event = harbour.post("zen", b'{"text":"<b>bold</b>"}')
    harbour.post("zen", b"{}", secret="another one")
    harbour.post("pull_request", b'{"action":"opened","number":"<i>seven</i>"}')
    (held,) = harbour.until("/api/v1/quarantine", lambda found: found["quarantine"])["quarantine"]
    silence = {"rule": "drift", "key": "*", "comment": "<b>the tide turns</b>"}
    harbour.client.post("/api/v1/alerts/silences", json=silence).raise_for_status()
    harbour.until("/api/v1/alerts", lambda found: found["alerts"] and found["sent"])
    found = harbour.until("/api/v1/deliveries", lambda found: len(found["deliveries"]) >= 3)["deliveries"]
    taken, refused = (
        next(one for one in found if one["verdict"] == verdict) for verdict in ("accepted", "refused")
    )
    return {
        "bulk-selected": f"/bulk/{_selected(harbour, 'cancel', task='ship')}",
        "bulk-done": f"/bulk/{_executed(harbour, 'retry', task='leak')}",
        "events": "/events",
        "event": f"/events/{event}",
        "deliveries": "/deliveries",
        "quarantine": "/quarantine",
        "quarantined": f"/quarantine/{held['key']}",
        "overview": "/",
        "runs": "/runs",
        "runs-filtered": "/runs?text=hold&status=failed",
        "run-waiting": f"/runs/{run}",
        "run-failed": f"/runs/{failed}",
        "replay": f"/runs/{run}/replay",
        "fork": f"/runs/{run}/fork?at=approval%3Aleave",
        "errors": "/errors",
        "error": f"/errors/{group['fingerprint']}",
        "approvals": "/approvals",
        "approval": f"/approvals/{run}.leave",
        "tasks": "/tasks",
        "task": "/tasks/sail",
        "schedules": "/schedules",
        "schedule": "/schedules/tide",
        "schedule-paused": "/schedules/tide%3Ayearly?said=pause",
        "workers": "/workers",
        "dead-letters": "/dead",
        "alerts": "/alerts",
        "dead-letter": f"/dead/{failed}",
        "sources": "/sources",
        "source": "/sources/github",
        "schemas": "/schemas",
        "schema": "/schemas/github/push",
        "delivery": f"/deliveries/{taken['id']}",
        "delivery-refused": f"/deliveries/{refused['id']}",
        "audit": "/audit",
        "dry-run": f"/dry-run?event={event}",
        "test": "/test?source=github&type=push",
        "test-sent": f"/test?source=github&type=zen&event={event}&status=accepted",
        "test-task": "/test?task=ship",
        "nothing-here": "/nothing",
    }


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("screen", ["desk", "phone"])
def test_axe_finds_nothing_on_any_page(
    theme: str, screen: str, pages: dict[str, str], open_page: Open, axe: str
) -> None:
    SHOTS.mkdir(exist_ok=True)
    page, wrong = open_page("/", theme=theme, viewport=PHONE if screen == "phone" else DESK), []
    for name, path in pages.items():
        answer = page.goto(path)
        assert len(answer.body()) < 100_000, f"{name} is too large"
        page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        page.evaluate(axe)
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        wrong += [
            (name, one["id"], node["html"][:200]) for one in found["violations"] for node in one["nodes"][:3]
        ]
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if wide > 0:
            wrong.append((name, "scrolls sideways", f"{wide} px"))
        page.evaluate("for (const one of document.querySelectorAll('details')) one.open = false")
        if PICTURED:
            page.screenshot(path=SHOTS / f"{name}-{theme}-{screen}.png", full_page=True)
    assert not wrong, "\n".join(map(str, wrong))
