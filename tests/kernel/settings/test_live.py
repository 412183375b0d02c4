"""Secrets that change while the process runs."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tidemill.kernel.errors import SettingsError
from tidemill.kernel.settings.keys import hash_key
from tidemill.kernel.settings.live import LiveSettings
from tidemill.kernel.settings.model import Settings

SOURCE = '[sources.github]\npreset = "github"\nsecrets = {secrets}\n'


class Ticking:
    """A clock on which every look at the files is due."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        self.seconds += 10
        return self.seconds


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("first\n")
    path = tmp_path / "tidemill.toml"
    path.write_text(SOURCE.format(secrets='["file:secret"]'))
    return path


@pytest.fixture
def live(file: Path) -> LiveSettings:
    return LiveSettings(Settings.load(file, {"OTHER": "third"}), monotonic=Ticking())


def values(live: LiveSettings) -> list[str]:
    return [secret.reveal() for secret in live.secrets("github")]


def test_a_secret_file_is_read_again(file: Path, live: LiveSettings) -> None:
    assert values(live) == ["first"]
    (file.parent / "secret").write_text("second, longer\n")
    assert values(live) == ["second, longer"]


def test_the_settings_files_secrets_and_keys_are_read_again(file: Path, live: LiveSettings) -> None:
    key = f'[control]\nkeys = [{{name = "ci", hash = "{hash_key("k")}"}}]\n'
    file.write_text(SOURCE.format(secrets='["file:secret", "env:OTHER"]') + key)
    assert values(live) == ["first", "third"]
    assert [key.name for key in live.api_keys()] == ["ci"]


def test_a_broken_change_is_logged_once_and_what_worked_stays(
    file: Path, live: LiveSettings, caplog: pytest.LogCaptureFixture
) -> None:
    file.write_text("[sources")
    with caplog.at_level(logging.ERROR):
        assert values(live) == ["first"]
        assert values(live) == ["first"]
    assert len(caplog.records) == 1


def test_a_change_that_fails_is_tried_again(file: Path, live: LiveSettings) -> None:
    file.write_text(SOURCE.format(secrets='["file:later"]'))
    assert values(live) == ["first"]
    (file.parent / "later").write_text("late")
    assert values(live) == ["late"]


def test_files_are_looked_at_once_a_second_only(file: Path) -> None:
    live = LiveSettings(Settings.load(file, {}), monotonic=lambda: 5.0)
    (file.parent / "secret").write_text("second, longer\n")
    assert values(live) == ["first"]


def test_a_secret_ends_at_its_instant(file: Path) -> None:
    file.write_text(SOURCE.format(secrets='[{value = "a", until = 2100-01-01T00:00:00Z}, "b"]'))
    live = LiveSettings(Settings.load(file, {}))
    assert len(live.secrets("github", datetime(2099, 12, 31, tzinfo=UTC))) == 2
    assert len(live.secrets("github", datetime(2100, 1, 1, tzinfo=UTC))) == 1


def test_a_secret_keeps_its_place_when_one_before_it_ends(file: Path) -> None:
    file.write_text(SOURCE.format(secrets='[{value = "a", until = 2100-01-01T00:00:00Z}, "b"]'))
    live = LiveSettings(Settings.load(file, {}))
    assert [secret.place for secret in live.secrets("github")] == [0, 1]
    (left,) = live.secrets("github", datetime(2100, 1, 1, tzinfo=UTC))
    assert (left.reveal(), left.place) == ("b", 1)


def test_a_secret_that_has_run_out_neednt_exist(file: Path) -> None:
    file.write_text(SOURCE.format(secrets='[{value = "env:GONE", until = 2020-01-01T00:00:00Z}, "b"]'))
    assert values(LiveSettings(Settings.load(file, {}))) == ["b"]


def test_a_secret_that_cant_be_resolved_stops_the_start(file: Path) -> None:
    with pytest.raises(SettingsError, match="there is no variable NOPE"):
        LiveSettings(Settings.load(file, {"TIDEMILL_SOURCES__GITHUB__SECRETS": "env:NOPE"}))


def test_an_unknown_source_has_no_secrets(live: LiveSettings) -> None:
    assert live.secrets("gitlab") == ()
