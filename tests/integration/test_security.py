"""Strangers, broken peers and logs: who gets in, what hostile bytes do to a running job, what is logged."""

from __future__ import annotations

import asyncio
import io
import random
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
import zmq
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from PIL import Image

from sluice.errors import ProtocolError
from sluice.ledger import Database
from sluice.protocol import Bye, Credit, Done, Failed, Failure, Hello, Message, Ping, Return, decode, encode
from sluice.protocol.keys import KeyPair, make_keys, read_keys
from sluice.settings import Settings, read_settings
from tests.support.jobs_running import Operator, until
from tests.support.pem_keys import certificate_pem, private_pem
from tests.support.producer_fakes import FakeConsumer, mutated, samples
from tools.stack import Stack, free_port

FRAMES = 10_000
PEERS = 5
REPEATS = 60
LOOPBACK = {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


@pytest.fixture
def operator(stack: Stack) -> Iterator[Operator]:
    with Database(stack.settings) as database:
        yield Operator(stack, database)


def fill(stack: Stack, bucket: str, count: int) -> None:
    """Upload pictures of coarse noise: each gets an answer with a different score."""
    for number in range(count):
        noise = Image.frombytes("RGB", (8, 8), random.Random(number).randbytes(192))
        buffer = io.BytesIO()
        noise.resize((64, 64), Image.Resampling.NEAREST).save(buffer, "PNG")
        stack.servers.s3.client.put_object(Bucket=bucket, Key=f"{number:03}.png", Body=buffer.getvalue())


class CurveKeys:
    """CURVE keys of a producer, of a consumer that it knows (in PEM), and of a stranger."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pairs: dict[str, KeyPair] = {name: make_keys(folder / name) for name in ("producer", "stranger")}
        made = Ed25519PrivateKey.generate()
        (folder / "consumer").write_text(private_pem(made))
        self.pairs["consumer"] = read_keys(folder / "consumer")
        (folder / "known").mkdir()
        (folder / "known" / "consumer.pub").write_text(certificate_pem(made))

    @property
    def producer(self) -> dict[str, object]:
        return {"curve_key": self.folder / "producer", "curve_clients": self.folder / "known"}

    def consumer(self, name: str = "consumer") -> dict[str, object]:
        return {"curve_key": self.folder / name, "curve_server": str(self.folder / "producer.pub")}


def start(stack: Stack, keys: CurveKeys, **settings: object) -> None:
    stack.add_producer(**keys.producer, **settings)
    stack.add_consumer(**keys.consumer(), **settings)
    for worker in stack.workers:
        worker.start()
    for worker in stack.workers:
        worker.wait_ready()


def test_with_curve_a_known_key_works_and_an_unknown_one_gets_nothing(
    stack: Stack, operator: Operator, bucket: str, tmp_path: Path
) -> None:
    fill(stack, bucket, 20)
    keys = CurveKeys(tmp_path)
    start(stack, keys, cache_entries=0)
    job = operator.submit(f"s3://{bucket}", repeats=20)
    strangers: list[Settings | None] = [read_settings(**keys.consumer("stranger")), None]

    async def knock(settings: Settings | None) -> None:
        peer = FakeConsumer(stack.settings.bind, settings, name="stranger")
        try:
            await peer.greet(1000)
            with pytest.raises(TimeoutError):
                await peer.hear(3.0)
        finally:
            peer.close()

    for settings in strangers:
        asyncio.run(knock(settings))
    assert stack.producers[0].metrics()["sluice_consumers"] == 1
    assert operator.ended(job).done == 400
    assert "stranger" not in stack.producers[0].log.read_text()
    operator.check()


def hostile(chance: random.Random, ids: list[int]) -> Iterator[list[bytes]]:
    """Yield messages that are random, cut off, damaged, or recorded from a real consumer and repeated.

    A damaged message may happen to be a valid CREDIT. A stranger who sends that after HELLO is a consumer, which only
    CURVE can prevent; so it is left out here.
    """
    overheard: list[Message] = [
        Hello("consumer-0"),
        Credit(0, 0),
        Credit(0, 2**40),
        Done(ids),
        Failed([Failure(found, "corrupt", "overheard") for found in ids]),
        Return(ids),
        Ping(),
        Bye(),
    ]
    while True:
        if chance.random() < 0.3:
            yield encode(chance.choice(overheard))
            continue
        frames = mutated(chance, chance.choice(samples()))
        try:
            if isinstance(decode(frames)[0], Credit):
                continue
        except ProtocolError:
            pass
        if frames:
            yield frames


def say(peer: zmq.Socket[bytes], frames: list[bytes]) -> None:
    """Send, and discard the answers: unread ones keep ZeroMQ from noticing that the connection was closed."""
    deadline = time.monotonic() + 60
    while True:
        while peer.poll(0):
            peer.recv_multipart()
        try:
            peer.send_multipart(frames, zmq.DONTWAIT)
        except zmq.Again:
            assert time.monotonic() < deadline, "it is connected no more"
            peer.poll(10, zmq.POLLIN | zmq.POLLOUT)
        else:
            return


def test_ten_thousand_hostile_messages_at_a_running_job_change_no_row(
    stack: Stack, operator: Operator, bucket: str
) -> None:
    fill(stack, bucket, 50)
    stack.servers.s3.client.put_object(Bucket=bucket, Key="text.jpg", Body=b"text")
    stack.start_workers(consumers=2, cache_entries=0)
    before = [worker.pid for worker in stack.workers]
    job = operator.submit(f"s3://{bucket}", repeats=REPEATS)
    until(lambda: operator.progress(job).done > 20, "its first rows")
    ids = [row["id"] for row in operator.sql("SELECT id FROM objects WHERE job_id = %s", job)]
    chance = random.Random(11)
    messages = hostile(chance, ids)
    context = zmq.Context()
    peers = [context.socket(zmq.DEALER) for _ in range(PEERS)]
    for peer in peers:
        peer.setsockopt(zmq.LINGER, 2_000)
        peer.setsockopt(zmq.RCVHWM, 10)
        peer.connect(stack.settings.bind)
    address = urlsplit(stack.settings.bind)
    for number in range(FRAMES):
        say(peers[number % PEERS], next(messages))
        if number % 50 == 0:  # and some that don't speak ZeroMQ at all
            with socket.create_connection((address.hostname, address.port or 0), 5) as raw:
                raw.sendall(chance.randbytes(chance.randrange(1, 200)))
        if number == FRAMES // 2:
            assert operator.progress(job).state == "running", "the job was to be under way: make it longer"
    for peer in peers:
        peer.close()
    context.term()
    # Many are lost with the connections that are closed to such peers.
    until(lambda: stack.producers[0].metrics()["sluice_rejected_frames_total"] > FRAMES / 100, "their arrival")
    ended = operator.ended(job)
    assert (ended.done, ended.quarantined, ended.superseded) == (REPEATS * 50, REPEATS, 0)
    assert operator.sql("SELECT DISTINCT reason FROM objects WHERE state = 'quarantined'") == [
        {"reason": "not_an_image"}
    ]
    # One key, one content, one answer. Its last digits depend on its batch, and with them which of the no-op model's
    # many equal labels comes first; another picture's answer would have another score.
    wrong = operator.sql(
        "SELECT o.object_key FROM predictions p JOIN objects o ON o.id = p.object_id "
        "GROUP BY o.object_key "
        "HAVING COUNT(DISTINCT p.sha256) <> 1 OR MAX(p.score) / MIN(p.score) > 1.0001 OR COUNT(*) <> %s",
        REPEATS,
    )
    assert wrong == []
    assert [worker.pid for worker in stack.workers] == before
    operator.check("--bytes", "100")


def test_all_that_torchserve_opens_is_bound_to_loopback(stack: Stack) -> None:
    head = psutil.Process(stack.servers.torchserve.pid)
    open_to = {
        (connection.laddr.port, connection.laddr.ip)
        for process in (head, *head.children(recursive=True))
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert {port for port, _ in open_to} >= set(stack.servers.torchserve.ports.values())
    assert {ip for _, ip in open_to} <= LOOPBACK


def test_no_secret_is_ever_written_down(stack: Stack, operator: Operator, bucket: str, tmp_path: Path) -> None:
    """By processes that work, by those that can't, or by the command line, even with all logs on."""
    fill(stack, bucket, 5)
    keys = CurveKeys(tmp_path)
    start(stack, keys, log_level="debug")
    assert operator.ended(operator.submit(f"s3://{bucket}")).done == 5
    operator.submit("s3://no-such-bucket")
    until(lambda: "no-such-bucket" in stack.producers[0].log.read_text(), "its complaint")
    wrong = "wr0ng-pa55word"
    right = stack.servers.database.password
    url = stack.environment["SLUICE_DATABASE_URL"]
    broken = [
        stack.add_producer(database_url=url.replace(right, wrong), bind=f"tcp://127.0.0.1:{free_port()}"),
        stack.add_consumer(database_url=url.replace(right, wrong), log_level="debug"),
    ]
    for worker in broken:
        worker.start()
    until(lambda: all("denied" in worker.log.read_text() for worker in broken), "their complaints")
    said = ""
    for bad in (
        url.replace(right, wrong),
        url.replace(right, f"{wrong}/{right}:x"),
        url.replace(right, f"{wrong}@{right}"),
    ):
        for arguments in (["status"], ["config"], ["submit", "s3://photos"], ["db", "upgrade"], ["check"]):
            done = operator.command(*arguments, SLUICE_DATABASE_URL=bad, SLUICE_LOG_LEVEL="debug")
            said += done.stdout + done.stderr
            assert done.returncode or arguments == ["config"], (arguments, done)
    for worker in stack.workers:
        worker.stop()
    secrets = {
        "the database's password": right,
        "a wrong password": wrong,
        "the S3 secret key": stack.servers.s3.secret_key,
        **{f"the CURVE secret of the {name}": pair.secret.decode() for name, pair in keys.pairs.items()},
        "the consumer's PEM": (tmp_path / "consumer").read_text().splitlines()[1],
    }
    logs = [path for path in stack.servers.folder.rglob("*.log") if path.is_file()]
    assert len(logs) >= 7, "three servers, four workers, TorchServe's own"
    texts = {path.name: path.read_text(errors="replace") for path in logs} | {"the command line": said}
    assert [(where, what) for where, text in texts.items() for what, secret in secrets.items() if secret in text] == []
