"""`compose.yaml` is valid and hardened, and what it mounts is read by what will read it."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from jsonschema import Draft202012Validator

from gateway.access.guard import check_exposure
from tidemill.history.database import locate
from tidemill.kernel.errors import SettingsError
from tidemill.kernel.settings.keys import find_key, hash_key
from tidemill.kernel.settings.model import Settings

ROOT: Final = Path(__file__).parents[2]
COMPOSE: Final[dict[str, Any]] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: Final[dict[str, dict[str, Any]]] = COMPOSE["services"]
SECRETS: Final = {"NATS_PASSWORD": "007", "GITHUB_WEBHOOK_SECRET": "s"}
KEYS: Final = SERVICES["gateway"]["environment"]["TIDEMILL_CONTROL__KEYS"]


def specification() -> dict[str, Any]:
    """Return the compose specification's own JSON Schema, as check-jsonschema vendors it."""
    spec = importlib.util.find_spec("check_jsonschema")
    assert spec is not None
    assert spec.origin is not None
    path = Path(spec.origin).parent / "builtin_schemas" / "vendor" / "compose-spec.json"
    schema: dict[str, Any] = json.loads(path.read_text())
    return schema


def problems(document: object) -> list[str]:
    return [error.json_path for error in Draft202012Validator(specification()).iter_errors(document)]


def test_it_fits_the_compose_specification() -> None:
    assert problems(COMPOSE) == []


def test_the_specification_would_notice_a_mistake() -> None:
    assert problems({"services": {"a": {"image": "x", "helthcheck": {}}}}) == ["$.services.a"]


def test_it_has_the_production_shape() -> None:
    assert set(SERVICES) == {"broker", "gateway", "engine", "worker"}
    assert SERVICES["worker"]["deploy"]["replicas"] > 1


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_service_is_hardened(name: str) -> None:
    service = SERVICES[name]
    assert int(service["user"].split(":")[0]) > 0
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}
    assert service["healthcheck"]["test"][0] == "CMD"
    assert service["restart"] == "unless-stopped"
    assert not service["image"].endswith(":latest")


def test_no_secret_stands_in_it_and_a_missing_one_stops_the_start() -> None:
    for service in SERVICES.values():
        for variable in SECRETS.keys() & service["environment"].keys():
            assert f"${{{variable}:?" in service["environment"][variable]
    example = (ROOT / "deploy" / "env.example").read_text().splitlines()
    wanted = {*SECRETS, "CONTROL_KEY_HASH", "SECRET_KEY"}
    assert {line for line in example if not line.startswith("#")} == {f"{variable}=" for variable in wanted}


def test_the_control_listener_is_never_without_a_key() -> None:
    variable = re.search(r"\$\{CONTROL_KEY_HASH:\?[^}]+\}", KEYS)
    assert variable is not None
    given = {"TIDEMILL_CONTROL__KEYS": KEYS.replace(variable[0], hash_key("tm_x"))}
    settings = Settings.load(ROOT / "deploy" / "tidemill.toml", SECRETS | given)
    assert find_key("tm_x", settings.control.keys) is not None
    check_exposure(settings.control)
    with pytest.raises(SettingsError, match="anybody there could start runs"):
        check_exposure(Settings.load(ROOT / "deploy" / "tidemill.toml", SECRETS).control)


def test_only_the_gateway_is_published_and_its_private_side_to_the_host_only() -> None:
    assert {name for name, service in SERVICES.items() if "ports" in service} == {"gateway"}
    assert SERVICES["gateway"]["ports"] == ["8080:8080", "127.0.0.1:8081:8081"]
    assert COMPOSE["networks"]["broker"]["internal"] is True
    assert SERVICES["broker"]["networks"] == ["broker"]


def test_what_is_acknowledged_outlives_the_container() -> None:
    (mount,) = SERVICES["broker"]["volumes"]
    volume, folder = mount.split(":")
    assert volume in COMPOSE["volumes"]
    assert SERVICES["broker"]["environment"]["NATS_STORE"] == folder
    assert folder in (ROOT / "Dockerfile").read_text()


def test_the_engine_writes_the_history_that_the_gateway_shows() -> None:
    (mount,) = SERVICES["engine"]["volumes"]
    assert SERVICES["gateway"]["volumes"] == [mount]
    volume, folder = mount.split(":")
    assert volume in COMPOSE["volumes"]
    assert (
        locate(Settings.load(ROOT / "deploy" / "tidemill.toml", SECRETS)).database == f"{folder}/history.db"
    )
    assert folder in (ROOT / "Dockerfile").read_text()


def test_the_files_that_it_mounts_exist() -> None:
    for entry in COMPOSE["configs"].values():
        assert (ROOT / entry["file"]).is_file()
    used = {config["source"] for service in SERVICES.values() for config in service.get("configs", [])}
    assert used == set(COMPOSE["configs"])


def test_the_services_settings_are_valid() -> None:
    settings = Settings.load(ROOT / "deploy" / "tidemill.toml", SECRETS)
    assert settings.nats.servers == ("nats://broker:4222",)
    assert settings.nats.user == SERVICES["broker"]["environment"]["NATS_USER"]
    assert settings.nats.password is not None
    assert settings.nats.password.resolve(SECRETS).reveal() == "007"
    assert [secret.reveal() for secret in settings.secrets_of("github")] == ["s"]
    published = {int(port.rsplit(":", 1)[1]) for port in SERVICES["gateway"]["ports"]}
    assert published == {settings.gateway.listen.port, settings.control.listen.port}


def test_workers_have_time_to_stop() -> None:
    settings = Settings.load(ROOT / "deploy" / "tidemill.toml", SECRETS)
    for name in ("gateway", "engine", "worker"):
        assert int(SERVICES[name]["stop_grace_period"].removesuffix("s")) > settings.worker.shutdown_timeout


@pytest.mark.integration
@pytest.mark.parametrize("password", ["007", "1e5", "a b", "3f" * 32])
def test_the_real_server_reads_its_configuration(password: str, tmp_path: Path) -> None:
    written = SERVICES["broker"]["environment"]["NATS_PASSWORD"]
    environ = {"NATS_STORE": str(tmp_path), "NATS_USER": "tidemill", "NATS_PASSWORD": f'"{password}"'}
    assert written.startswith('"$')
    assert written.endswith('}"')
    server = Path(sys.executable).with_name("nats-server")
    checked = subprocess.run(
        [server, "-t", "-c", ROOT / "deploy" / "nats.conf"],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr


def test_the_broker_writes_to_the_disk_before_it_acknowledges() -> None:
    assert "sync_interval: always" in (ROOT / "deploy" / "nats.conf").read_text()


def test_the_image_installs_what_is_locked_and_runs_as_nobody_special() -> None:
    lines = (ROOT / "Dockerfile").read_text()
    assert lines.count("--require-hashes") == 2
    assert "USER 10001:10001" in lines
    assert ":latest" not in lines
