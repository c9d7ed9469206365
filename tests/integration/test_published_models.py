"""Models published while all runs: TorchServes that take them by their agents, jobs, promotion and retirement."""

from __future__ import annotations

import hashlib
import io
import pickle
import threading
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import numpy as np
import pytest
import requests
from PIL import Image

from sluice.ledger import Database, jobs, models
from tests.support.jobs_running import Operator, until
from tools.stack import Servers, Stack, TorchServe, archive_of, card_of
from tools.stack.renamed import renamed
from tools.stack.torchserve import WITH_AGENT
from tools.stack.workers import start_all


def picture(seed: int = 0) -> bytes:
    """Return noise, different for each seed."""
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (32, 32, 3), np.uint8)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def torchserves(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[TorchServe]]:
    """Start two, each with noop and for an agent; the next test's agents unload what the last test's loaded."""
    names, folder = ("torchserve-a", "torchserve-b"), tmp_path_factory.mktemp("served")
    made = [TorchServe(folder, servers.leash, [archive_of("noop")], name=each, options=WITH_AGENT) for each in names]
    for each in made:
        each.start()
    for each in made:
        each.wait_ready()
    yield made
    for each in made:
        each.stop()


@pytest.fixture
def stack(servers: Servers, torchserves: list[TorchServe], database_name: str, tmp_path: Path) -> Iterator[Stack]:
    """Return a stack whose model store is a folder; `add_agent` follows for each TorchServe."""
    servers.start(servers.database, servers.s3)
    addresses = ",".join(each.address for each in torchserves)
    own = {"torchserve": addresses, "model_store": f"file://{tmp_path}/published/", "poll_seconds": 0.1}
    with Stack(servers, database_name, **own) as made:
        yield made


@pytest.fixture
def operator(stack: Stack) -> Iterator[Operator]:
    with Database(stack.settings) as database:
        yield Operator(stack, database)


def state(operator: Operator, model: str) -> str:
    (row,) = operator.sql("SELECT state FROM model_versions WHERE model = %s", model)
    return str(row["state"])


def cause(operator: Operator, model: str) -> str:
    """Wait until a version has failed, and return why."""
    until(lambda: state(operator, model) == "failed", f"the failure of {model}")
    (row,) = operator.sql("SELECT message FROM model_versions WHERE model = %s", model)
    return str(row["message"])


def described(torchserve: TorchServe, model: str) -> requests.Response:
    """Return what its management port says of a model."""
    return requests.get(f"http://127.0.0.1:{torchserve.ports['management_port']}/models/{model}", timeout=60)


def is_loaded(torchserve: TorchServe, model: str) -> bool:
    """Ask its management port: a prediction that is asked for while its version is unloaded gets no answer at all."""
    return described(torchserve, model).status_code != 404


def default(torchserve: TorchServe, model: str) -> str:
    """Return the version that answers who asks for none."""
    return str(described(torchserve, model).json()[0]["modelVersion"])


def answers(torchserve: TorchServe, model: str) -> int:
    return requests.post(f"{torchserve.address}/predictions/{model}", picture(), timeout=60).status_code


class SteadyCallers:
    """Asks TorchServes for predictions all the time, in a thread each, until it is left."""

    def __init__(self, torchserves: list[TorchServe], model: str) -> None:
        self.asked: Counter[int] = Counter()
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(each, model)) for each in torchserves]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, torchserve: TorchServe, model: str) -> None:
        while not self._ended.is_set():
            try:
                self.asked[answers(torchserve, model)] += 1
            except requests.RequestException:
                self.asked[0] += 1


def test_a_published_version_is_served_and_answers_a_job(
    stack: Stack, operator: Operator, torchserves: list[TorchServe], bucket: str, tmp_path: Path
) -> None:
    agents = [stack.add_agent(each) for each in torchserves]
    start_all(*agents)
    stack.start_workers(consumers=1)
    stack.servers.s3.fill(bucket, [("a.png", picture()), ("b.png", picture())])
    done = operator.run("models", "publish", str(renamed(tmp_path, "drugs", "1.0")), "--promote")
    assert (done.exit_code, done.stdout) == (0, "drugs@1.0 is published\ndrugs@1.0 is live\n"), done.stderr
    assert state(operator, "drugs@1.0") == "live"
    for each in torchserves:
        assert requests.post(f"{each.address}/predictions/drugs", picture(), timeout=60).ok
    done = operator.run("submit", f"s3://{bucket}/", "--model", "drugs@1.0", "--wait")
    assert done.exit_code == 0, done.stderr
    rows = operator.sql("SELECT model, COUNT(*) AS n FROM results GROUP BY model")
    assert rows == [{"model": "drugs@1.0", "n": 2}]
    operator.check()


def test_a_new_server_is_ready_with_all_that_is_wanted(
    stack: Stack, operator: Operator, torchserves: list[TorchServe], tmp_path: Path
) -> None:
    first, second = (stack.add_agent(each) for each in torchserves)
    start_all(first)
    for version in ("1.0", "1.1"):
        assert operator.run("models", "publish", str(renamed(tmp_path, "drugs", version))).exit_code == 0
    assert operator.run("models", "promote", "drugs@1.0").exit_code == 0
    start_all(second)
    for version in ("1.0", "1.1"):
        url = f"{torchserves[1].address}/predictions/drugs/{version}"
        assert requests.post(url, picture(), timeout=60).ok
    # A TorchServe that starts again has lost them, and isn't ready until it has them again.
    torchserves[1].kill()
    until(lambda: "TorchServe" in second.why_not_ready(), "an agent that notices")
    torchserves[1].start()
    second.wait_ready()
    assert requests.post(f"{torchserves[1].address}/predictions/drugs/1.1", picture(), timeout=60).ok


def test_under_load_versions_come_and_go_and_no_prediction_fails(
    stack: Stack, operator: Operator, torchserves: list[TorchServe], bucket: str, tmp_path: Path
) -> None:
    start_all(*(stack.add_agent(each) for each in torchserves))
    stack.start_workers(consumers=1)
    stack.servers.s3.fill(bucket, [(f"{number}.png", picture()) for number in range(40)])
    with SteadyCallers(torchserves, "noop/1.0") as asking:
        job = operator.submit(f"s3://{bucket}/", repeats=50)
        for version in ("1.0", "2.0"):
            archive = renamed(tmp_path, "drugs", version, "efficientnet-lite0")
            done = operator.run("models", "publish", str(archive), "--promote")
            assert done.exit_code == 0, done.stderr
        with SteadyCallers(torchserves, "drugs") as of_any:
            for each in torchserves:
                until(lambda each=each: default(each, "drugs") == "2.0", "the promoted version")  # type: ignore[misc]
        # Retired versions are kept for a minute, in which their last predictions end; here they have ended.
        with SteadyCallers(torchserves, "drugs") as of_the_live_one:
            assert operator.run("models", "retire", "drugs@1.0").exit_code == 0
            operator.sql("UPDATE models SET retired = retired - INTERVAL 1 MINUTE WHERE retired IS NOT NULL")
            for each in torchserves:
                until(lambda each=each: not is_loaded(each, "drugs/1.0"), "the end of a retired version")  # type: ignore[misc]
    assert asking.asked.keys() == of_any.asked.keys() == of_the_live_one.asked.keys() == {200}
    assert operator.ended(job).quarantined == 0
    operator.check()


def test_what_jobs_need_stays_until_they_end(
    stack: Stack, operator: Operator, torchserves: list[TorchServe], bucket: str, tmp_path: Path
) -> None:
    agents = [stack.add_agent(each) for each in torchserves[:1]]
    start_all(*agents, stack.add_producer())
    stack.servers.s3.fill(bucket, [("a.png", picture())])
    assert operator.run("models", "publish", str(renamed(tmp_path, "drugs", "1.0"))).exit_code == 0
    assert operator.run("submit", f"s3://{bucket}/", "--model", "drugs@1.0").exit_code == 0
    until(lambda: operator.sql("SELECT 1 FROM jobs WHERE state = 'running'"), "a job without consumers")
    until(lambda: state(operator, "drugs@1.0") == "served", "a served version")
    assert operator.run("models", "retire", "drugs@1.0").exit_code == 0
    operator.sql("UPDATE models SET retired = retired - INTERVAL 1 MINUTE WHERE retired IS NOT NULL")
    # An agent that starts anew has only the rows to go by.
    agents[0].stop()
    agents[0].start()
    agents[0].wait_ready()
    assert answers(torchserves[0], "drugs/1.0") == 200
    operator.sql("UPDATE jobs SET state = 'cancelled'")
    until(lambda: not is_loaded(torchserves[0], "drugs/1.0"), "the end of a version that nobody needs")
    kept = torchserves[0].folder / "store"
    until(lambda: [path.name for path in kept.iterdir()] == ["noop.mar"], "the end of its archive")


def test_a_trial_s_share_is_answered_once_while_consumers_are_killed(
    stack: Stack, operator: Operator, torchserves: list[TorchServe], bucket: str, tmp_path: Path
) -> None:
    """Instead of the live version, then beside it; then its gate promotes it, in seconds."""
    start_all(stack.add_agent(torchserves[0]))
    for version, how in (("1.0", ["--promote"]), ("2.0", [])):
        archive = renamed(tmp_path, "drugs", version)
        assert operator.run("models", "publish", str(archive), *how).exit_code == 0
    stack.start_workers(consumers=2, torchserve=torchserves[0].address)
    stack.servers.s3.fill(bucket, [(f"{number}.png", picture(number)) for number in range(200)])
    in_share, tried = answers_under_kills(stack, operator, bucket)
    by_model = {row["model"]: row["n"] for row in operator.sql("SELECT model, COUNT(*) AS n FROM results GROUP BY 1")}
    instead = in_share - tried["failed"]
    assert by_model == {"drugs@1.0": 800 - instead, "drugs@2.0": instead}
    assert operator.run("models", "trial", "drugs@2.0", "--stop").exit_code == 0
    assert operator.sql("SELECT 1 FROM current WHERE model = 'drugs@2.0'") == []
    answers_under_kills(stack, operator, bucket, "--shadow")
    assert operator.sql("SELECT DISTINCT model FROM results WHERE job = 2") == [{"model": "drugs@1.0"}]
    # Both are the same network; what rounding makes of near ties has nearly the same score.
    far = "SELECT 1 FROM trial_predictions WHERE trial_id = 2 AND failure = '' AND ABS(score - live_score) > 0.001"
    assert operator.sql(far) == []
    gate = "promote_n = 200, promote_by = 'agreement', margin = 0.2, stop_failures = 0.5"
    operator.sql(f"UPDATE trials SET {gate} WHERE id = 2")
    until(lambda: state(operator, "drugs@2.0") == "live", "a promotion")


def answers_under_kills(stack: Stack, operator: Operator, bucket: str, *how: str) -> tuple[int, dict[str, int]]:
    """Try a version on half of a job's objects; return how many those are, and how many were tried and failed."""
    done = operator.run("models", "trial", "drugs@2.0", "--share", "0.5", *how)
    assert done.exit_code == 0, done.stderr
    until(lambda: operator.sql("SELECT 1 FROM trials WHERE state = 'running'"), "a trial that runs")
    with Database(stack.settings) as database:
        job = database.run(jobs.submit, f"s3://{bucket}/", "drugs", repeats=4)
    for killed, enough in zip(stack.consumers, (100, 300), strict=True):
        until(lambda enough=enough: operator.progress(job).done > enough, "some objects")  # type: ignore[misc]
        killed.kill()
        start_all(killed)
    assert operator.ended(job).done == 800
    in_share = "job_id = %s AND CONV(HEX(RIGHT(sha256, 4)), 16, 10) < POW(2, 31)"
    (wanted,) = operator.sql(f"SELECT COUNT(*) AS n FROM predictions WHERE {in_share}", job)
    (tried,) = operator.sql(
        "SELECT COUNT(*) AS n, SUM(failure <> '') AS failed FROM trial_predictions WHERE job_id = %s", job
    )
    assert 300 < wanted["n"] == tried["n"] < 500
    (told,) = operator.sql("SELECT answered + failed AS n, failed FROM trial_progress ORDER BY trial DESC LIMIT 1")
    assert told == tried
    operator.check()
    return wanted["n"], tried


def spoil(found: dict[str, bytes]) -> None:
    found["sluice_handler.py"] = b"raise RuntimeError('bang')\n"


def test_a_version_that_cannot_be_loaded_says_why_and_is_not_promoted(
    stack: Stack, operator: Operator, torchserves: list[TorchServe], tmp_path: Path
) -> None:
    """What `publish` refuses is written here by hand, as somebody may who reaches database and store."""
    agent = stack.add_agent(torchserves[0])
    start_all(agent)
    sound = renamed(tmp_path, "sound", "1.0")
    assert operator.run("models", "publish", str(sound), "--promote").exit_code == 0

    def plant(name: str, data: bytes, size: int = 0) -> None:
        card = card_of(sound)
        sha256 = hashlib.sha256(data).hexdigest() if name != "swapped" else "0" * 64
        place = tmp_path / "published" / name / "1.0" / f"{sha256}.mar"
        place.parent.mkdir(parents=True)
        place.write_bytes(data)
        with Database(stack.settings) as database:
            stored = models.StoredArchive(sha256, size or len(data))
            database.run(models.publish, {**card, "name": name, "version": "1.0"}, stored)

    with zipfile.ZipFile(renamed(tmp_path, "pickled", "1.0"), "a") as opened:
        opened.writestr("weights.pkl", pickle.dumps([1]))
    plant("pickled", (tmp_path / "pickled-1.0.mar").read_bytes())
    plant("swapped", sound.read_bytes())
    plant("other", sound.read_bytes())
    plant("junk", b"junk")
    plant("large", renamed(tmp_path, "large", "1.0").read_bytes(), size=1 << 50)
    done = operator.run("models", "publish", str(renamed(tmp_path, "spoilt", "1.0", change=spoil)))
    assert done.exit_code == 0, done.stderr
    causes = {
        "pickled": "'weights.pkl' is neither code nor weights",
        "swapped": "not the one that was published",
        "other": "says of itself that it is sound@1.0",
        "junk": "isn't a model archive",
        "large": "TorchServe may use",
        "spoilt": "RuntimeError: bang",
    }
    for name, said in causes.items():
        assert said in cause(operator, f"{name}@1.0")
        done = operator.run("models", "promote", f"{name}@1.0")
        assert (done.exit_code, said in done.stderr) == (2, True), done.stderr
        assert answers(torchserves[0], f"{name}/1.0") == 404
    assert agent.why_not_ready() == ""
    assert answers(torchserves[0], "sound") == 200
    done = operator.run("models", "publish", str(renamed(tmp_path, "spoilt", "1.0")), "--promote")
    assert done.exit_code == 0, done.stderr
    assert answers(torchserves[0], "spoilt") == 200


def test_an_archive_that_may_not_be_published_leaves_nothing(operator: Operator, tmp_path: Path) -> None:
    path = renamed(tmp_path, "drugs", "1.0")
    with zipfile.ZipFile(path, "a") as opened:
        opened.writestr("../evil.py", b"")
    done = operator.run("models", "publish", str(path))
    assert (done.exit_code, "would be unpacked outside" in done.stderr) == (2, True), done.stderr
    assert not (tmp_path / "published").exists()
    assert operator.sql("SELECT 1 FROM models WHERE name = 'drugs'") == []
    done = operator.run("models", "publish", str(renamed(tmp_path, "drugs", "1.0")), SLUICE_MODEL_STORE="")
    assert (done.exit_code, "set SLUICE_MODEL_STORE" in done.stderr) == (2, True), done.stderr
    done = operator.run("models", "publish", str(renamed(tmp_path, "drugs", "1.0")), "--promote", "--wait", "1")
    assert (done.exit_code, "no TorchServe with an agent" in done.stderr) == (2, True), done.stderr


def test_archives_lie_in_a_bucket(
    stack: Stack, operator: Operator, torchserves: list[TorchServe], bucket: str, tmp_path: Path
) -> None:
    store = {"model_store": f"s3://{bucket}/store"}
    start_all(stack.add_agent(torchserves[0], **store))
    archive = str(renamed(tmp_path, "drugs", "1.0"))
    done = operator.run("models", "publish", archive, "--promote", SLUICE_MODEL_STORE=store["model_store"])
    assert done.exit_code == 0, done.stderr
    assert answers(torchserves[0], "drugs") == 200
    (found,) = stack.servers.s3.client.list_objects_v2(Bucket=bucket)["Contents"]
    assert found["Key"].startswith("store/drugs/1.0/")
