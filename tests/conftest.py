"""Fixtures with real servers, each started at its first use and kept until the end of the session.

| fixture        | value                                                                                       |
| -------------- | ------------------------------------------------------------------------------------------- |
| `database_url` | an empty database for the test, with its tables, as SLUICE_DATABASE_URL                     |
| `settings`     | Settings that reach that database, nothing else                                             |
| `ledger`       | an open sluice.ledger.Database on it                                                        |
| `s3`           | an S3 server: `.endpoint`, `.access_key`, `.secret_key`, `.client` (boto3), `.fill(bucket, pairs)` |
| `bucket`       | the name of a new, empty bucket there                                                       |
| `s3_settings`  | Settings that reach database and bucket; the S3 account is in the environment               |
| `torchserve`   | a TorchServe: `.address`, `.models` (noop, efficientnet-lite0)                              |
| `stack`        | a database, the S3 server and TorchServe, models registered, noop live; the test starts     |
|                | producers and consumers with `.start_workers(...)`, `.add_producer(...)`, `.add_consumer(...)`, |
|                | and gateways with `.start_gateway(gateway_anonymous="user").url`, `.add_gateway(...)`        |

When a test with `stack` fails, the ends of all its logs are in its report.
"""

from __future__ import annotations

import functools
import gc
import itertools
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Final

import pytest
from hypothesis import settings as hypothesis_settings
from PIL import Image
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

from sluice.ledger import Database
from sluice.settings import Settings, read_settings
from sluice.telemetry import LedgerTelemetry
from tests.support.ready_tables import make_tables, ready_statements
from tools.stack import S3Server, Servers, Stack, TorchServe

ORDER: Final = ("cluster", "chart", "unit", "browser", "integration", "chaos")
TOGETHER: Final = ("cluster", "chart", "browser")
LONG: Final = ("integration", "chaos")
POLL_SECONDS: Final = 0.1
_numbers = itertools.count()

# The time of an example depends on the machine, not on the code.
hypothesis_settings.register_profile("untimed", deadline=None)
hypothesis_settings.load_profile("untimed")

# Looking for garbage in what is imported took a quarter of the time until the first test.
gc.disable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run first what one process takes together, as at the end all would wait for it; and the fast tests meanwhile."""
    items.sort(key=lambda item: (ORDER.index(_room(item)), _room(item) in LONG and not _shares_a_fixture(item.path)))


def pytest_collection_finish() -> None:
    """Look for garbage from here on, but not in what stays until the end."""
    gc.freeze()
    gc.enable()


def pytest_unconfigure() -> None:
    """Let what was imported go at the end: nanobind reports what is left then."""
    gc.unfreeze()


class OneCluster(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Distributes tests to several processes: to any free one, but some folders' as a whole to one.

    Each process has its own servers, but there is only one cluster; what the browser looks at takes long to start, and
    the chart's tests render the same manifests. So it is with modules that share a fixture, or have fast tests.
    """

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        room = next((room for room in TOGETHER if nodeid.startswith(f"tests/{room}/")), "")
        is_whole = module.startswith("tests/unit/") or _shares_a_fixture(Path(__file__).parent.parent / module)
        return room or (module if is_whole else nodeid)

    def _reschedule(self, node: WorkerController) -> None:
        """Give a process one long test beyond the one that it has begun: other ones may be free earlier."""
        next_is_long = next(iter(self.workqueue), "").startswith(tuple(f"tests/{room}/" for room in LONG))
        if not next_is_long or self._pending_of(self.assigned_work[node]) <= 1:
            super()._reschedule(node)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> OneCluster:
    """Use this scheduler, because `scripts/test` runs several processes."""
    return OneCluster(config, log)


@functools.cache
def _shares_a_fixture(module: Path) -> bool:
    """Return whether the tests of a module share a fixture of their own."""
    return 'scope="module"' in module.read_text(encoding="utf-8")


def _room(item: pytest.Item) -> str:
    """Return the folder of `tests` that contains a test."""
    return item.path.relative_to(Path(__file__).parent).parts[0]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show a failed test's logs before they are deleted."""
    report = yield
    stack = getattr(item, "funcargs", {}).get("stack")
    if report.failed and isinstance(stack, Stack):
        report.sections.append(("logs", stack.log_tails()))
    return report


@pytest.fixture(autouse=True)
def _pillow_s_limit() -> Iterator[None]:
    """Restore Pillow's limit of pixels: decoding sets it for the whole process, whose settings never change."""
    before = Image.MAX_IMAGE_PIXELS
    yield
    Image.MAX_IMAGE_PIXELS = before


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """Hold the session's servers; the other fixtures start them."""
    with Servers(models=["noop", "efficientnet-lite0"], in_memory=True) as servers:
        yield servers


@pytest.fixture
def database_name(servers: Servers) -> Iterator[str]:
    """Return the name of a database that doesn't exist yet on a running server; it is dropped afterwards."""
    servers.start(servers.database)
    name = f"test{next(_numbers)}"
    yield name
    servers.start(servers.database)
    servers.database.drop(name)


@pytest.fixture(scope="session")
def table_statements(servers: Servers) -> str:
    """Return what makes the newest tables faster than all the migrations do."""
    servers.start(servers.database)
    return ready_statements(servers.database)


@pytest.fixture
def database_url(servers: Servers, database_name: str, table_statements: str) -> str:
    """Return an empty database for the test, with its tables."""
    url = servers.database.create(database_name)
    make_tables(url, table_statements)
    return url


@pytest.fixture
def settings(database_url: str) -> Settings:
    """Return settings for the test's database; patience is short, so that a lost database fails the test quickly."""
    return read_settings(database_url=database_url, database_patience=10.0)


@pytest.fixture
def ledger(settings: Settings) -> Iterator[Database]:
    """Open the test's database."""
    with Database(settings, LedgerTelemetry()) as database:
        yield database


@pytest.fixture
def s3(servers: Servers) -> S3Server:
    """Return the session's S3 server."""
    servers.start(servers.s3)
    return servers.s3


@pytest.fixture
def bucket(s3: S3Server) -> str:
    """Make a new, empty bucket."""
    name = f"bucket-{next(_numbers)}"
    s3.client.create_bucket(Bucket=name)
    return name


@pytest.fixture
def s3_settings(database_url: str, s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Return settings for the test's database and the S3 server."""
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    return read_settings(database_url=database_url, database_patience=10.0, s3_endpoint=s3.endpoint)


@pytest.fixture
def torchserve(servers: Servers) -> TorchServe:
    """Return the session's TorchServe."""
    servers.start(servers.torchserve)
    return servers.torchserve


@pytest.fixture
def stack(servers: Servers, database_name: str) -> Iterator[Stack]:
    """Return everything except the workers, on a ledger for the test; all three servers run when the test begins.

    Its producers look at the jobs often, since many tests wait for several.
    """
    servers.start()
    with Stack(servers, database_name, poll_seconds=POLL_SECONDS) as stack:
        yield stack
