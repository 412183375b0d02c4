"""One operator's morning in a real browser, from a webhook that is sent to an error that is resolved."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.browser.test_dashboard import DESK, Open, listening, status, stayed

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


def send(page: Page, event_type: str, text: str = "") -> None:
    """Send a webhook from the test page."""
    page.goto("/test?source=github")
    page.fill("input[name=type]", event_type)
    page.fill("textarea[name=document]", text)
    page.click("button:has-text('Send')")
    page.wait_for_selector("#came")


def test_a_webhook_is_sent_its_run_approved_and_replayed_and_what_fails_is_repaired(open_page: Open) -> None:
    page = open_page("/", viewport=DESK)
    page.click("nav >> text=Test")
    page.select_option("select[name=type]", "push")
    page.click("button:has-text('Choose')")
    assert '"refs/heads/' in page.input_value("textarea[name=document]")
    page.fill("textarea[name=document]", '{"ref": "refs/heads/ship-it"}')
    page.fill("input[name=type]", "deployment_review")
    page.keyboard.press("Enter")
    page.wait_for_selector("#verdict:has-text('accepted')")
    listening(page)
    page.wait_for_selector('#came .status[data-status="waiting"]')
    assert stayed(page), "the page was reloaded"

    page.click("#came >> text=review")
    status(page, "waiting")
    page.wait_for_selector("#asked >> text=It asks: deploy")
    page.fill("#asked input[name=by]", "Ada")
    page.click("#asked button:has-text('Approve')")
    page.wait_for_selector("text=The answer has been kept.")
    status(page, "completed")
    page.wait_for_selector("#bodies pre:has-text('ship-it')")
    page.click("text=Replay with another input")
    page.fill("textarea[name=payload]", '{"ref": "refs/heads/other"}')
    page.click("button:has-text('Replay')")
    page.wait_for_url(re.compile(r"said=replay"))
    status(page, "waiting")
    page.wait_for_selector("#bodies pre:has-text('refs/heads/other')")

    send(page, "pull_request", '{"action": "opened", "number": "seven"}')
    page.wait_for_selector("#verdict:has-text('quarantined')")
    page.click("text=stands in quarantine")
    page.wait_for_selector("text=seven")
    page.click("button:has-text('Release')")
    page.goto("/events?type=github.pull_request.opened")
    listening(page)
    page.wait_for_selector("#list tbody tr:has-text('sink')")

    page.goto("/errors?task=sink")
    listening(page)
    page.wait_for_selector("#list tbody tr:has-text('water')")
    page.click("#list tbody a")
    page.fill("input[name=note]", "pumped")
    page.click("button:has-text('Resolve')")
    status(page, "resolved")
    page.click("button:has-text('Ignore')")
    status(page, "ignored")


def test_a_form_of_fields_starts_a_run_and_says_what_is_wrong_beside_it(open_page: Open) -> None:
    page = open_page("/test?task=ship", viewport=DESK)
    page.fill("input[name='data.name']", "tea")
    page.fill("input[name='data.crates']", "many")
    page.keyboard.press("Enter")
    page.wait_for_selector("[role=alert] >> text=crates")
    assert page.input_value("input[name='data.name']") == "tea"
    assert page.get_attribute("input[name='data.crates']", "aria-describedby") == "start-problem"
    page.fill("input[name='data.crates']", "1")
    page.click("button:has-text('Start')")
    page.wait_for_url(re.compile(r"/runs/run_\w+\?said=trigger"))
    status(page, "waiting")


def test_a_delivery_that_isnt_genuine_is_refused_like_a_strangers(open_page: Open) -> None:
    page = open_page("/test?source=github&type=push", viewport=DESK)
    page.check("input[name=tamper]")
    page.click("button:has-text('Send')")
    page.wait_for_selector("#verdict:has-text('401')")
    page.goto("/deliveries?verdict=refused&source=github")
    listening(page)
    page.wait_for_selector("#list tbody tr:has-text('signature')")
