"""Logs, metrics and health as other processes see them."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from sluice.domain import Reason
from sluice.errors import ConfigurationError
from sluice.settings import read_settings
from sluice.telemetry import Health, HealthServer, configure, get_logger, metrics, serve
from sluice.telemetry.health import STALLED_SECONDS
from tests.support.loopback import has_ipv6
from tools.stack import free_port

NAMES = [
    "sluice_listed",
    "sluice_leased",
    "sluice_in_flight",
    "sluice_credit",
    "sluice_backlog",
    "sluice_received",
    "sluice_decoded",
    "sluice_inferred",
    "sluice_cached",
    "sluice_committed",
    "sluice_redelivered",
    "sluice_returned",
    "sluice_quarantined",
    "sluice_superseded",
    "sluice_rejected_frames",
    "sluice_queue_depth",
    "sluice_stage_seconds",
    "sluice_object_seconds",
    "sluice_endpoint_up",
    "sluice_overloaded",
    "sluice_torchserve_requests",
    "sluice_torchserve_probes",
    "sluice_ledger_retries",
    "sluice_ledger_lock_waits",
    "sluice_locked",
    "sluice_consumers",
    "sluice_log_failures",
    "sluice_trainings",
    "sluice_training_at_work",
    "sluice_training_steps",
    "sluice_training_files_removed",
    "sluice_trainer_sweep_failed",
    "sluice_wanted_versions",
    "sluice_loads",
]


@pytest.fixture
def state() -> Health:
    return Health()


@contextmanager
def serving(state: Health) -> Iterator[str]:
    server = HealthServer("127.0.0.1", 0, state)
    yield f"http://127.0.0.1:{server.port}"
    server.close()


@pytest.fixture
def server(state: Health) -> Iterator[str]:
    with serving(state) as url:
        yield url


def test_a_process_is_not_ready_before_it_says_so(server: str, state: Health) -> None:
    assert requests.get(f"{server}/ready", timeout=5).status_code == HTTPStatus.SERVICE_UNAVAILABLE
    state.set("ledger", ok=True)
    assert requests.get(f"{server}/ready", timeout=5).status_code == HTTPStatus.OK


def test_ready_says_all_that_is_missing(server: str, state: Health) -> None:
    state.set("ledger", ok=False, why="no answer")
    state.set("torchserve", ok=False, why="no endpoint")
    answer = requests.get(f"{server}/ready", timeout=5)
    assert answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE
    assert answer.text == "ledger: no answer\ntorchserve: no endpoint\n"
    state.set("ledger", ok=True)
    assert requests.get(f"{server}/ready", timeout=5).text == "torchserve: no endpoint\n"


def test_only_a_stopped_event_loop_is_no_life() -> None:
    now = [0.0]
    state = Health(lambda: now[0])
    state.set("ledger", ok=False, why="no answer")
    with serving(state) as server:
        assert requests.get(f"{server}/live", timeout=5).status_code == HTTPStatus.OK
        now[0] = STALLED_SECONDS
        assert requests.get(f"{server}/live", timeout=5).status_code == HTTPStatus.SERVICE_UNAVAILABLE
        state.tick()
        assert requests.get(f"{server}/live", timeout=5).status_code == HTTPStatus.OK


def test_every_edge_of_the_flow_has_its_metric(server: str) -> None:
    assert metrics.LISTED  # importing the module registers the metrics
    text = requests.get(f"{server}/metrics", timeout=5).text
    families = {family.name for family in text_string_to_metric_families(text)}
    assert families >= set(NAMES)


def test_each_reason_is_counted_from_0_so_that_the_first_object_is_an_increase() -> None:
    code = (
        "from prometheus_client import generate_latest; from sluice.telemetry import metrics; "
        "print(generate_latest().decode())"
    )
    text = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for reason in Reason:
        assert f'sluice_quarantined_total{{reason="{reason}"}} 0.0' in text


def test_unknown_paths_are_not_found(server: str) -> None:
    assert requests.get(f"{server}/secrets", timeout=5).status_code == HTTPStatus.NOT_FOUND


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no address of IPv6")
def test_it_is_served_on_ipv6_too(state: Health) -> None:
    server = serve(read_settings(metrics_host="::1", metrics_port=free_port()), state)
    assert server is not None
    assert requests.get(f"http://[::1]:{server.port}/live", timeout=5).status_code == HTTPStatus.OK
    server.close()


def test_nothing_is_served_without_a_port(state: Health) -> None:
    assert serve(read_settings(metrics_port=0), state) is None


def test_a_port_that_is_taken_is_named_with_the_remedy(server: str, state: Health) -> None:
    port = int(server.rpartition(":")[2])
    with pytest.raises(ConfigurationError, match=f"127.0.0.1:{port}.*SLUICE_METRICS_PORT"):
        serve(read_settings(metrics_port=port), state)


def test_json_logs_are_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Values can't break out of their line; other libraries' warnings have the same format."""
    configure(read_settings(log_format="json"))
    get_logger().info("read", key="a\nb\x1b[31m")
    get_logger().debug("not shown")
    logging.getLogger("other").warning("slow %s", "bucket")
    captured = capsys.readouterr()
    assert captured.out == ""
    first, second = [json.loads(line) for line in captured.err.splitlines()]
    assert (first["event"], first["key"], first["level"]) == ("read", "a\nb\x1b[31m", "info")
    assert (second["event"], second["level"]) == ("slow bucket", "warning")


def test_a_logger_outlives_the_standard_error_that_it_was_made_with(monkeypatch: pytest.MonkeyPatch) -> None:
    log, later = get_logger(), io.StringIO()
    with io.StringIO() as first:
        monkeypatch.setattr(sys, "stderr", first)
        configure(read_settings(log_format="json"))
        log.info("before")
    monkeypatch.setattr(sys, "stderr", later)
    log.info("after")
    assert json.loads(later.getvalue())["event"] == "after"


def test_a_log_that_takes_nothing_ends_nothing() -> None:
    """/dev/full behaves like a full disk."""
    code = (
        "import logging, sys; from sluice.settings import read_settings; from sluice.telemetry import *\n"
        "configure(read_settings()); get_logger().info('x' * 10000); logging.getLogger('other').warning('slow')\n"
        "print('said', file=sys.stderr); sys.stderr.flush()\n"
        "print(metrics.LOG_FAILURES._value.get() > 0)"
    )
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=full, text=True, check=False)
    assert done.stdout == "True\n"


def test_the_ledger_brings_no_logs_no_metrics_and_no_server() -> None:
    """Each `sluice status` imports it."""
    brought = "{'structlog', 'prometheus_client', 'sluice.telemetry'}"
    code = f"import sys, sluice.ledger; print(bool({brought} & {{*sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
