"""Settings: where they come from, who wins, and what is said about those that are wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.kernel.errors import NotFoundError, SettingsError
from tidemill.kernel.settings.model import Settings
from tidemill.kernel.settings.sections import ROLES
from tidemill.kernel.settings.values import Address, parse_address, parse_duration, parse_size

FULL = """
[gateway]
listen = "0.0.0.0:80"
public_url = "https://hooks.example.com"
max_body = "2MiB"
[control]
keys = [{name = "ci", hash = "sha256:%s"}]
[nats]
url = "nats://a:4222, nats://b:4222"
user = "tidemill"
password = "env:NATS_PASSWORD"
tls = {ca = "ca.pem"}
replicas = 3
[worker]
slots = 5
lease = "10s"
[sources.github]
preset = "github"
secrets = ["env:NEW", {value = "file:old", until = 2026-12-01T00:00:00Z}]
[sources.shop]
recipe = {algorithm = "sha256", header = "X-Signature"}
secrets = ["plain"]
""" % ("0" * 64)


def load(environ: dict[str, str] | None = None, **overrides: Any) -> Settings:
    return Settings.load(Path("/dev/null"), environ or {}, overrides)


def refusal(environ: dict[str, str] | None = None, **overrides: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        load(environ, **overrides)
    return str(caught.value)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "tidemill.toml"
    path.write_text(FULL)
    (tmp_path / "old").write_text("from-file\n")
    return path


def test_defaults_need_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings.load(environ={})
    assert settings.gateway.listen == Address("127.0.0.1", 8080)
    assert settings.control.listen == Address("127.0.0.1", 8081)
    assert settings.nats.embedded
    assert settings.nats.data_dir == tmp_path / ".tidemill"
    assert settings.engine.roles == ROLES
    assert settings.sources == {}


def test_the_working_directorys_file_is_read(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(written.parent)
    assert Settings.load(environ={}).worker.slots == 5


def test_without_a_mapping_the_process_environment_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMILL_WORKER__SLOTS", "7")
    assert Settings.load(Path("/dev/null")).worker.slots == 7


def test_every_kind_of_value_is_read(written: Path) -> None:
    settings = Settings.load(written, {})
    assert settings.gateway.max_body == 2 * 1024 * 1024
    assert settings.nats.servers == ("nats://a:4222", "nats://b:4222")
    assert settings.nats.tls.enabled
    assert settings.nats.tls.ca == written.parent / "ca.pem"
    assert settings.worker.lease == 10.0
    assert settings.sources["shop"].recipe == {"algorithm": "sha256", "header": "X-Signature"}
    assert settings.control.keys[0].role == "admin"


def test_the_environment_wins_over_the_file_and_the_command_line_over_both(written: Path) -> None:
    environ = {"TIDEMILL_WORKER__SLOTS": "6", "TIDEMILL_WORKER__THREADS": "4"}
    worker = Settings.load(written, environ, {"worker": {"slots": 7}}).worker
    assert (worker.slots, worker.threads, worker.lease) == (7, 4, 10.0)


def test_lists_and_tables_in_the_environment() -> None:
    environ = {
        "TIDEMILL_SOURCES__GITHUB__PRESET": "github",
        "TIDEMILL_SOURCES__GITHUB__SECRETS": "env:A, env:B",
        "TIDEMILL_SOURCES__MY_SHOP__RECIPE": '{"algorithm": "sha256"}',
        "TIDEMILL_SOURCES__MY_SHOP__SECRETS": '["a,b"]',
        "TIDEMILL_ENGINE__ROLES": "router,closer",
    }
    settings = load(environ)
    assert [str(secret.value) for secret in settings.sources["github"].secrets] == ["env:A", "env:B"]
    assert settings.sources["my_shop"].recipe == {"algorithm": "sha256"}
    assert [entry.value.text for entry in settings.sources["my_shop"].secrets] == ["a,b"]
    assert settings.engine.roles == ("router", "closer")


def test_numbers_in_the_environment() -> None:
    environ = {"TIDEMILL_NATS__URL": "nats://a:4222", "TIDEMILL_NATS__REPLICAS": "3"}
    assert load(environ).nats.replicas == 3
    assert "should be 1, 3 or 5" in refusal(environ | {"TIDEMILL_NATS__REPLICAS": "2"})


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("TIDEMILL_EVENTS__MAX_BYTES", "99999999999TB"),
        ("TIDEMILL_EVENTS__MAX_AGE", "1e300"),
        ("TIDEMILL_NATS__URL", "nats://a:65536"),
    ],
)
def test_what_the_broker_could_not_take_is_refused(variable: str, value: str) -> None:
    assert value in refusal({variable: value})


def test_an_empty_variable_counts_as_missing() -> None:
    assert load({"TIDEMILL_WORKER__SLOTS": ""}).worker.slots == 100


@pytest.mark.parametrize(("tls", "enabled"), [("true", True), ("false", False), (True, True), (False, False)])
def test_tls_is_a_switch_or_a_table(tls: object, enabled: bool) -> None:  # noqa: FBT001 - a parameter of the test
    assert load(nats={"url": "nats://a", "tls": tls}).nats.tls.enabled is enabled


@pytest.mark.parametrize(
    ("variable", "suggestion"),
    [
        ("TIDEMILL_WORKER__SLUTS", "did you mean worker.slots?"),
        ("TIDEMILL_SLOTS", "did you mean worker.slots?"),
        ("TIDEMILL_WROKER__SLOTS", "did you mean worker?"),
        ("TIDEMILL_SOURCES__SHOP__PRESETS", "did you mean sources.shop.preset?"),
        ("TIDEMILL_NATS__TLS__CERTS", "did you mean nats.tls.cert?"),
    ],
)
def test_an_unknown_variable_is_named_with_the_nearest_key(variable: str, suggestion: str) -> None:
    message = refusal({variable: "5"})
    assert variable in message
    assert suggestion in message


def test_an_unknown_key_of_the_file_is_named_with_its_value(tmp_path: Path) -> None:
    path = tmp_path / "other.toml"
    path.write_text("[worker]\nslot = 3\n")
    with pytest.raises(SettingsError, match=r"other\.toml: worker\.slot = 3 is no setting; did you mean"):
        Settings.load(path, {})


def test_everything_that_is_wrong_is_said_at_once() -> None:
    message = refusal({"TIDEMILL_WORKER__SLOTS": "many"}, gateway={"max_body": "1 potato", "lissen": 1})
    assert "3 settings are wrong" in message
    assert "TIDEMILL_WORKER__SLOTS: worker.slots = 'many'" in message
    assert "command line: gateway.max_body = '1 potato': not a size" in message
    assert "did you mean gateway.listen?" in message


@pytest.mark.parametrize(
    ("section", "words"),
    [
        (
            {"gateway": {"listen": "127.0.0.1:9"}, "control": {"listen": "127.0.0.1:9"}},
            "a port each",
        ),
        ({"gateway": {"listen": "0.0.0.0:9"}, "control": {"listen": "127.0.0.1:9"}}, "a port each"),
        ({"events": {"max_age": "1h", "duplicate_window": "2h"}}, "longer than events.max_age"),
        ({"nats": {"replicas": 3}}, "needs a cluster"),
        ({"nats": {"user": "a", "password": "b"}}, "embedded"),
        ({"nats": {"url": "nats://a", "user": "a"}}, "belong together"),
        (
            {"nats": {"url": "nats://a", "user": "a", "password": "b", "credentials": "c"}},
            "exclude each other",
        ),
        ({"nats": {"url": "nats://a", "tls": {"cert": "a"}}}, "belong together"),
        ({"sources": {"a": {"secrets": ["x"]}}}, "either preset or recipe"),
    ],
)
def test_contradictions_are_refused(section: dict[str, Any], words: str) -> None:
    assert words in refusal(**section)


@pytest.mark.parametrize(
    "section",
    [
        {"gateway": {"listen": "127.0.0.1:0"}, "control": {"listen": "127.0.0.1:0"}},
        {"gateway": {"listen": "127.0.0.1:9"}, "control": {"listen": "[::1]:9"}},
        {"sources": {"a": {"preset": "github", "allow_unsigned": True}}},
    ],
)
def test_what_only_looks_like_a_contradiction_is_allowed(section: dict[str, Any]) -> None:
    assert load(**section)


@pytest.mark.parametrize("name", ["Git Hub", "a.b", "-a", "a__b", "", "a" * 65, "ü", "a/b"])
def test_a_sources_name_is_a_plain_word(name: str) -> None:
    assert "sources" in refusal(sources={name: {"preset": "github", "secrets": ["x"]}})


@pytest.mark.parametrize(
    "url", ["nats://u:hunter2@a:1", "http://a", "nats://", "embedded,nats://a", "nats://a/b"]
)
def test_a_broker_url_has_hosts_only(url: str) -> None:
    message = refusal(nats={"url": url})
    assert "nats.url" in message
    assert "hunter2" not in message


def test_a_wrong_secret_is_not_shown() -> None:
    message = refusal(
        nats={"password": ["hunter2"]}, sources={"a": {"preset": "x", "secrets": [{"val": "hunter2"}]}}
    )
    assert "nats.password" in message
    assert "sources.a.secrets.0.val is no setting; did you mean sources.a.secrets.value?" in message
    assert "hunter2" not in message


def test_a_secret_is_nowhere_in_the_settings_text(written: Path) -> None:
    settings = Settings.load(written, {"NEW": "hunter2"})
    assert "plain" not in repr(settings) + settings.model_dump_json()


def test_a_file_that_is_missing_or_broken_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="tidemill init"):
        Settings.load(tmp_path / "none.toml", {})
    (tmp_path / "broken.toml").write_text("[worker\n")
    with pytest.raises(SettingsError, match=r"broken\.toml is no TOML"):
        Settings.load(tmp_path / "broken.toml", {})


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load().worker.slots = 3  # type: ignore[misc] # what is tested


def test_secrets_of_a_source(written: Path) -> None:
    settings = Settings.load(written, {"NEW": "from-env"})
    assert [secret.reveal() for secret in settings.secrets_of("github")] == ["from-env", "from-file"]
    with pytest.raises(NotFoundError, match="there is no source 'gitlab'"):
        settings.secrets_of("gitlab")


@given(
    st.integers(0, 2**50),
    st.sampled_from([("B", 1), ("kB", 1000), ("KiB", 1024), (" MiB", 2**20), ("gib", 2**30)]),
)
def test_sizes_have_units(number: int, unit: tuple[str, int]) -> None:
    assert parse_size(f"{number}{unit[0]}") == number * unit[1]


@given(st.text())
def test_any_text_is_a_size_or_refused(text: str) -> None:
    try:
        assert isinstance(parse_size(text), int)
    except ValueError as error:
        assert "not a size" in str(error)  # noqa: PT017 - either outcome is right, nothing else is


@given(st.text())
def test_any_text_is_a_duration_or_refused(text: str) -> None:
    try:
        assert isinstance(parse_duration(text), float)
    except ValueError as error:
        assert "not a duration" in str(error)  # noqa: PT017 - either outcome is right, nothing else is


@given(st.sampled_from(["127.0.0.1", "::1", "::", "0.0.0.0", "example.com"]), st.integers(0, 65535))
def test_an_address_reads_what_it_writes(host: str, port: int) -> None:
    assert parse_address(str(Address(host, port))) == Address(host, port)


@given(st.text())
def test_any_text_is_an_address_or_refused(text: str) -> None:
    try:
        assert isinstance(parse_address(text), Address)
    except ValueError as error:
        assert "not an address" in str(error)  # noqa: PT017 - either outcome is right, nothing else is
