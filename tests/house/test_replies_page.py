"""docs/replies.md: its settings can be served, its handlers and their tests run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import pytest

from gateway import waiting
from gateway.sources import build_intakes
from tests.house import pages
from tidemill import testing
from tidemill.kernel.settings.live import LiveSettings
from tidemill.kernel.settings.model import Settings

PAGE: Final = pages.read("replies.md")
COMMAND: Final = {"text": "main", "response_url": "https://hooks.slack.com/commands/1"}


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    """Everything that the page's code defines."""
    return pages.executed("replies.md")


def test_its_settings_can_be_served(tmp_path: Path) -> None:
    text = pages.blocks(PAGE, "toml")[0]
    public = '[gateway]\npublic_url = "https://hooks.example.com"\n'
    (tmp_path / "tidemill.toml").write_text(public + text, encoding="utf-8")
    environ = dict.fromkeys(re.findall(r"env:(\w+)", text), "secret")
    settings = Settings.load(tmp_path / "tidemill.toml", environ)
    intakes = build_intakes(settings, LiveSettings(settings))
    assert {name: intake.reply_timeout for name, intake in intakes.items()} == {"slack": 2.4, "twilio": 10.0}


async def test_its_tests_pass(page: dict[str, Any]) -> None:
    tests = {name: one for name, one in page.items() if name.startswith("test_")}
    assert set(tests) == {"test_deploy", "test_echo"}
    for test in tests.values():
        await test()


async def test_a_late_reply_goes_elsewhere(page: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    async with testing.play(page["deploy"]) as stage:
        stage.nobody_waits()
        run = await stage.start(page["deploy"], COMMAND)
        assert await run.result() == "late"
        assert [reply.run_id for reply in stage.replies] == [run.id]
    assert "post main is at https://main.example.com to https://hooks" in capsys.readouterr().out


def test_it_names_all_that_may_become_of_a_sender() -> None:
    named = set(re.findall(r"^\|.*\| `([a-z]+)` \|$", PAGE, re.MULTILINE))
    words = {value for name, value in vars(waiting).items() if name.isupper() and isinstance(value, str)}
    assert named == words - {waiting.GONE}
