"""compose.yaml: has no secrets, opens nothing except the page on loopback, and everything waits for what it needs."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from sluice.settings import read_settings
from tools.compose.__main__ import BUILT

ROOT: Final = Path(__file__).resolve().parents[2]
COMPOSE: Final[dict[str, Any]] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: Final[dict[str, dict[str, Any]]] = COMPOSE["services"]
ONCE: Final = {"secrets", "database-image", "buckets", "migrate", "register"}
PROCESSES: Final = ("producer", "consumer", "gateway", "agent", "trainer")


def test_whatever_serves_says_whether_it_does_and_comes_back() -> None:
    assert SERVICES.keys() == {*ONCE, *PROCESSES, "database", "s3", "torchserve", "torchserve-network"}
    for name in SERVICES.keys() - ONCE:
        assert SERVICES[name]["healthcheck"]["test"], name
        assert SERVICES[name]["restart"] == "unless-stopped", name


def test_only_the_page_has_a_port_and_only_on_loopback() -> None:
    ports = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert ports.keys() == {"gateway"}
    assert [port.split(":")[0] for port in ports["gateway"]] == ["127.0.0.1"]
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    assert [name for name, service in SERVICES.items() if "outside" in service.get("networks", [])] == ["gateway"]
    for name, service in SERVICES.items():
        assert ("networks" in service) != ("network_mode" in service), name


def test_nothing_runs_with_more_rights_than_it_needs() -> None:
    """Another image of the database may start as root, and then switch to its own user."""
    for name, service in SERVICES.items():
        assert service["security_opt"] == ["no-new-privileges:true"], name
        if name != "database":
            assert service["read_only"] is True, name
            assert service["cap_drop"] == ["ALL"], name
    assert [name for name, service in SERVICES.items() if "user" in service] == ["secrets"]


def test_data_and_secrets_are_in_named_volumes() -> None:
    used = {mount.split(":")[0] for service in SERVICES.values() for mount in service.get("volumes", [])}
    assert used == COMPOSE["volumes"].keys()
    for name, service in SERVICES.items():
        for mount in service.get("volumes", []):
            volume, _, target = mount.partition(":")
            if volume.endswith("-secret") and name != "secrets":
                assert target == "/run/sluice:ro", (name, mount)


def test_consumers_can_be_many() -> None:
    assert not {"container_name", "ports", "hostname"} & SERVICES["consumer"].keys()
    assert "SLUICE_NAME" not in SERVICES["consumer"]["environment"]


def test_the_agent_has_torchserves_folder_and_loopback_and_nobody_else_has() -> None:
    """The management port is on loopback, in a network that outlives both; `torchserve` is its name for the others."""
    sharing = {name for name, each in SERVICES.items() if each.get("network_mode") == "service:torchserve-network"}
    assert sharing == {"agent", "torchserve"}
    assert SERVICES["torchserve-network"]["networks"] == {"inside": {"aliases": ["torchserve"]}}
    mounted = {
        name: mount.partition(":")[2]
        for name, service in SERVICES.items()
        for mount in service.get("volumes", [])
        if mount.startswith("served:")
    }
    folder = SERVICES["agent"]["environment"]["SLUICE_AGENT_FOLDER"]
    assert mounted == {"torchserve": "/tmp/torchserve", "agent": folder}
    assert "--agent" in SERVICES["torchserve"]["command"]


def test_models_have_a_bucket_and_all_who_need_it_know_which() -> None:
    store = {SERVICES[name]["environment"]["SLUICE_MODEL_STORE"] for name in PROCESSES}
    assert len(store) == 1
    assert f"/data/buckets/{store.pop().split('/')[2]}" in SERVICES["buckets"]["entrypoint"]


def test_tables_come_first_and_the_page_last() -> None:
    for name in ("producer", "consumer", "register", "agent", "trainer"):
        assert SERVICES[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    assert SERVICES["migrate"]["depends_on"]["database"] == {"condition": "service_healthy"}
    assert SERVICES["gateway"]["depends_on"]["register"] == {"condition": "service_completed_successfully"}


def test_each_image_is_built_by_one_service() -> None:
    built = {service["image"]: name for name, service in SERVICES.items() if "build" in service}
    assert set(built.values()) == set(BUILT)
    for name in built.values():
        assert (ROOT / SERVICES[name]["build"]["dockerfile"]).is_file()
    for service in SERVICES.values():
        if "build" not in service:
            assert re.sub(r"\$\{\w+:-(.*)\}", r"\1", service["image"]) in built
            assert service["pull_policy"] == "never"


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """Run the service that makes the secrets, twice, in its own folder."""
    (shell, options, script) = SERVICES["secrets"]["command"]
    for folder in ("kept", "database", "s3", "workers", "gateway"):
        (tmp_path / folder).mkdir()
    script = script.replace("$$", "$").replace("cd /secrets", f"cd {tmp_path}").replace("chown", ": chown")
    for _ in range(2):
        command, environment = [shell, options, script], {"PATH": "/usr/bin:/bin", "GATEWAY_PORT": "8000"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        (tmp_path / "said").open("a").write(done.stdout)
    return tmp_path


def test_secrets_are_made_once_and_told_to_those_who_need_them(made: Path) -> None:
    first, second = (made / "said").read_text().splitlines()
    assert first == second
    password = first.split()[-1]
    assert re.fullmatch(r"[A-Za-z0-9]{20}", password)
    assert f'gateway_admin_password = "{password}"' in (made / "gateway/settings.toml").read_text()
    assert "gateway" not in (made / "workers/settings.toml").read_text()
    assert {path.name for path in (made / "database").iterdir()} == {"password"}
    account = dict(line.split("=") for line in (made / "s3/account").read_text().splitlines())
    for reader in ("workers", "gateway"):
        assert account["ROOT_SECRET_KEY"] in (made / reader / "aws").read_text()


@pytest.mark.parametrize("name", PROCESSES)
def test_the_environment_is_one_that_the_settings_take(name: str, made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in SERVICES[name]["environment"].items():
        monkeypatch.setenv(variable, re.sub(r"\$\{\w+:-(.*)\}", r"\1", value))
    folder = made / SERVICES[name]["volumes"][0].partition("-secret:")[0]
    monkeypatch.setenv("SLUICE_CONFIG", str(folder / "settings.toml"))
    settings = read_settings()
    assert settings.database_password is not None
    assert (settings.gateway_key is not None) == (name == "gateway")
    assert settings.gateway_classic == (name == "gateway")
