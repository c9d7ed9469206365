"""Sources of settings, messages about contradictions, and that the documentation's table matches."""

from __future__ import annotations

from pathlib import Path

import pytest

from sluice.errors import ConfigurationError
from sluice.settings import Settings, by_part, markdown_tables, read_settings

DOCUMENT = Path(__file__).parents[2] / "README.md"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"SLUICE_{name.upper()}", raising=False)
    monkeypatch.delenv("SLUICE_CONFIG", raising=False)


def test_the_documented_table_is_the_settings() -> None:
    table = DOCUMENT.read_text().partition("a test compares -->\n\n")[2]
    assert table == markdown_tables() + "\n", "run `python -m sluice.settings` and paste its tables"


def test_each_setting_is_of_one_part() -> None:
    assert sorted(name for names in by_part().values() for name in names) == sorted(Settings.model_fields)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("SLUICE_BACTH", "SLUICE_BATCH"),
        ("SLUICE_DATABASE_URI", "SLUICE_DATABASE_URL"),
        ("SLUICE_METRIC_PORT", "SLUICE_METRICS_PORT"),
        ("SLUICE_CONFG", "SLUICE_CONFIG"),
        ("sluice_torch_serve", "SLUICE_TORCHSERVE"),
        ("SLUICE_NONSENSE", ""),
    ],
)
def test_a_misspelt_setting_is_refused_with_the_one_that_is_meant(
    name: str, meant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "1")
    monkeypatch.setenv("SLUICE_POLL_SECONDS", "soon")
    with pytest.raises(ConfigurationError) as raised:
        read_settings()
    said = f": is {meant} meant?" if meant else "; README.md lists them"
    assert f"  {name}: there is no such setting{said}\n  SLUICE_POLL_SECONDS" in str(raised.value)


def test_a_misspelt_line_of_the_file_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sluice.toml").write_text("bacth = 7\n")
    monkeypatch.setenv("SLUICE_CONFIG", str(tmp_path / "sluice.toml"))
    with pytest.raises(ConfigurationError, match=r"SLUICE_BACTH: there is no such setting: is SLUICE_BATCH meant\?"):
        read_settings()


def test_what_kubernetes_tells_of_services_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "SLUICE_SERVICE_HOST": "10.0.0.1",
        "SLUICE_SERVICE_PORT": "80",
        "SLUICE_PORT": "tcp://10.0.0.1:80",
        "SLUICE_PRODUCER_SERVICE_HOST": "10.0.0.1",
        "SLUICE_PRODUCER_SERVICE_PORT_ZMQ": "5600",
        "SLUICE_PRODUCER_PORT": "tcp://10.0.0.1:5600",
        "SLUICE_PRODUCER_PORT_5600_TCP": "tcp://10.0.0.1:5600",
        "SLUICE_PRODUCER_PORT_5600_TCP_ADDR": "10.0.0.1",
        "SLUICE_PRODUCER_PORT_5600_TCP_PORT": "5600",
        "SLUICE_CACHE": "/var/cache/sluice",
        "SLUICE_TEST_REGISTRY": "registry.example",
    }.items():
        monkeypatch.setenv(name, value)
    read_settings()


def test_arguments_come_before_the_environment_and_that_before_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "sluice.toml"
    file.write_text("batch = 7\nwindow = 70\nheartbeat = 7.5\n")
    monkeypatch.setenv("SLUICE_CONFIG", str(file))
    monkeypatch.setenv("SLUICE_BATCH", "8")
    monkeypatch.setenv("SLUICE_WINDOW", "80")
    settings = read_settings(batch=9, heartbeat=None)
    assert (settings.batch, settings.window, settings.heartbeat) == (9, 80, 7.5)


def test_a_file_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SLUICE_CONFIG", str(tmp_path / "absent.toml"))
    with pytest.raises(ConfigurationError, match="SLUICE_CONFIG names"):
        read_settings()


def test_a_file_that_is_no_toml_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "broken.toml"
    file.write_text('batch = "x')
    monkeypatch.setenv("SLUICE_CONFIG", str(file))
    with pytest.raises(ConfigurationError, match=r"broken\.toml.*no TOML"):
        read_settings()


def test_lists_are_split_at_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_PRODUCERS", "tcp://a:1, tcp://b:2,")
    assert read_settings().producers == ("tcp://a:1", "tcp://b:2")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"SLUICE_BATCH": "0"}, "SLUICE_BATCH: "),
        ({"SLUICE_SHARD": "2", "SLUICE_SHARDS": "2"}, "SLUICE_SHARD is 2"),
        ({"SLUICE_CURVE_SERVER": "x" * 40}, "set SLUICE_CURVE_KEY too"),
        ({"SLUICE_POLL_SECONDS": "soon"}, "SLUICE_POLL_SECONDS: "),
        ({"SLUICE_S3_ENDPOINT": "127.0.0.1:7070"}, "SLUICE_S3_ENDPOINT: '127.0.0.1:7070' is no URL: expected http://"),
        ({"SLUICE_GATEWAY_URL": "sluice.example.com"}, "SLUICE_GATEWAY_URL: 'sluice.example.com' is no URL"),
        ({"SLUICE_DATABASE_TIMEOUT": "1e9"}, "SLUICE_DATABASE_TIMEOUT: expected 0.001 to 86400 seconds"),
        ({"SLUICE_DATABASE_PATIENCE": "inf"}, "SLUICE_DATABASE_PATIENCE: expected 0.001 to 86400 seconds"),
        ({"SLUICE_BATCH_WAIT": "nan"}, "SLUICE_BATCH_WAIT: "),
        ({"SLUICE_HEARTBEAT": "1e-9"}, "SLUICE_HEARTBEAT: .*0.1"),
        ({"SLUICE_DECODE_THREADS": "100000000"}, "SLUICE_DECODE_THREADS: expected 1024 at most"),
        ({"SLUICE_FETCH_CONCURRENCY": "1025"}, "SLUICE_FETCH_CONCURRENCY: expected 1024 at most"),
        ({"SLUICE_DRIFT_DAYS": "99999999"}, "SLUICE_DRIFT_DAYS: expected 36500 at most"),
        ({"SLUICE_CACHE_ENTRIES": "99999999999"}, "SLUICE_CACHE_ENTRIES: expected 1000000000 at most"),
    ],
)
def test_a_wrong_setting_is_named(given: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=said):
        read_settings()


def test_no_fraction_may_be_endless(monkeypatch: pytest.MonkeyPatch) -> None:
    fractions = [name for name, field in Settings.model_fields.items() if field.annotation is float]
    assert len(fractions) > 5
    for name in fractions:
        for value in ("inf", "nan", "1e300"):
            monkeypatch.setenv(f"SLUICE_{name.upper()}", value)
            with pytest.raises(ConfigurationError, match=f"SLUICE_{name.upper()}: "):
                read_settings()
        monkeypatch.delenv(f"SLUICE_{name.upper()}")


def test_no_secret_is_in_an_error_or_in_what_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_DATABASE_URL", "mysql://u:hunter2@h/d")
    monkeypatch.setenv("SLUICE_TORCHSERVE_TOKEN", "hunter2")
    settings = read_settings()
    assert "hunter2" not in str(settings.shown()) + repr(settings)
    monkeypatch.setenv("SLUICE_BATCH", "0")
    with pytest.raises(ConfigurationError) as raised:
        read_settings()
    assert "hunter2" not in str(raised.value)
