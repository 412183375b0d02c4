"""What messages say, whatever strangers and users call things."""

from __future__ import annotations

import unicodedata
from email import message_from_bytes, policy
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.alerts.channels.email import email_of
from consumers.alerts.channels.slack import body_of
from consumers.alerts.state import Alert, Attempt, Example, Message
from consumers.alerts.wording import document, held_note, line, summary, title_of, took
from tidemill.kernel.settings.alerts import EmailSettings

MAIL = EmailSettings(
    host="smtp.example.com", sender="mill@example.com", to=("a@example.com", "b@example.com")
)
HOSTILE = (
    "a\r\nBcc: x@evil.example\r\n\r\n<!channel> *bold* "
    "<https://evil.example|click> \u202eevil\u0000 @here :bomb:"
)


def message(key: str, text: str = "it leaks", **given: Any) -> Message:
    alert = Alert(
        rule="failed", kind="run_failed", key=key, since=0.0, total=2, path="/dead?task=a",
        examples=[Example(key, text, "/dead/run_1")],
    )  # fmt: skip
    made = Message(
        id="alr_1", at=0.0, status="firing", rule="failed", kind="run_failed", alerts=[alert], **given
    )
    made.title = title_of(made)
    return made


def document_of(made: Message, base: str = "https://mill.example.com/") -> dict[str, Any]:
    return document(made, Attempt(), base, "prod")


@given(st.text())
def test_a_line_is_one_line_of_visible_text(text: str) -> None:
    found = line(text, 50)
    assert len(found) <= 50
    assert not [one for one in found if unicodedata.category(one) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
    found.encode()


@given(st.text(), st.text())
def test_no_name_adds_a_header_to_an_email(key: str, text: str) -> None:
    made = message(key, text)
    raw = email_of(MAIL, document_of(made), f"[Tidemill] {made.title}", "", 0.0).as_bytes()
    read = message_from_bytes(raw, policy=policy.default)
    assert sorted(read.keys()) == sorted(
        ["Subject", "From", "To", "Date", "Message-ID", "Auto-Submitted", "Content-Type", "MIME-Version",
         "Content-Transfer-Encoding"]
    )  # fmt: skip
    assert read["To"] == "a@example.com, b@example.com"
    assert read["Message-ID"] == "<alr_1@example.com>"


def test_a_hostile_name_is_the_subject_and_no_more() -> None:
    made = message(HOSTILE)
    raw = email_of(MAIL, document_of(made), made.title, "", 0.0)
    read = message_from_bytes(raw.as_bytes(), policy=policy.default)
    assert read["Bcc"] is None
    assert "\n" not in read["Subject"]
    assert read["Subject"].startswith("2 runs of a Bcc: x@evil.example")
    body = read.get_content()
    assert "https://mill.example.com/dead/run_1" not in body.partition("2 runs")[0]
    assert body.rstrip().endswith("https://mill.example.com/alerts")


def texts(found: Any, kind: str) -> list[str]:
    """Return the texts of all objects of a kind in what Slack is sent."""
    if isinstance(found, list):
        return [text for one in found for text in texts(one, kind)]
    if not isinstance(found, dict):
        return []
    own = [found["text"]] if found.get("type") == kind else []
    return own + [text for one in found.values() for text in texts(one, kind)]


@given(st.text(), st.text(), st.sampled_from(["https://mill.example.com", "https://x/<a|b>&c", ""]))
def test_slack_reads_no_markup_from_names(key: str, text: str, base: str) -> None:
    made = message(key, text)
    sent = orjson.loads(body_of(document_of(made, base), f"[Tidemill] {made.title}", ""))
    for marked in texts(sent, "mrkdwn"):
        assert marked.startswith("<https://")
        assert marked.endswith("|Open the alerts>")
        assert not set("<>|") & set(marked[1 : -len("|Open the alerts>")])
    assert not {"<", ">"} & set(sent["text"])
    assert (sent["mrkdwn"], sent["link_names"], sent["parse"]) == (False, False, "none")
    assert all(len(plain) <= 3000 for plain in texts(sent, "plain_text"))
    assert len(sent["blocks"]) <= 50


def test_slack_shows_a_hostile_name_as_it_is() -> None:
    made = message(HOSTILE)
    sent = orjson.loads(
        body_of(document_of(made), made.title, "3 earlier messages did not reach this channel")
    )
    assert "<!channel> *bold*" in texts(sent, "plain_text")[1]
    assert "&lt;!channel&gt;" in sent["text"]
    assert "3 earlier messages did not reach this channel" in texts(sent, "plain_text")


def test_no_page_no_links() -> None:
    found = document_of(message("deploy"), "")
    assert found["url"] is None
    assert found["alerts"][0]["url"] is None
    assert found["alerts"][0]["examples"][0]["url"] is None


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("run_failed", "2 runs of x failed"),
        ("failure_rate", "40% of the runs of x failed within 15 min"),
        ("queue_age", "a run of x has waited for 0 s"),
        ("source_silent", "nothing was received from x for 0 s"),
        ("quarantine", "2 deliveries of x went into quarantine"),
        ("drift", "events x differ from what was known of them"),
        ("approval_expiring", "x: nobody has answered yet"),
    ],
)
def test_each_kind_says_what_is_the_matter(kind: str, said: str) -> None:
    alert = Alert(rule="r", kind=kind, key="x", since=0.0, total=2, value=0.4)
    assert summary(alert, 900.0) == said
    alert.over = 5.0
    assert summary(alert, 900.0) == f"{said}; this is over"


def test_durations_are_said_in_two_units() -> None:
    said = [took(seconds) for seconds in (0, 59.6, 90, 3600, 5430, 90_000, 200_000)]
    assert said == ["0 s", "1 min", "1 min 30 s", "1 h", "1 h 30 min", "1 d 1 h", "2 d 7 h"]


def test_what_was_held_back_is_said() -> None:
    assert held_note(Attempt(), 20) == ""
    assert held_note(Attempt(held=1, held_since=0.0), 20).startswith("1 earlier message did not")
    assert "since 1970-01-01T00:00Z" in held_note(Attempt(held=7, held_since=0.0), 20)


def test_what_was_over_by_the_time_of_its_message_says_so() -> None:
    made = message("deploy")
    made.alerts[0].over = 1.0
    made.status = "resolved"
    assert title_of(made) == "2 runs of deploy failed; this is over"
    assert document_of(made)["alerts"][0]["status"] == "resolved"
