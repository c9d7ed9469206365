"""A camera that goes dark, noticed on real servers: from the pictures' bytes to SQL, command, metric, page and API."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Final

import pytest
from PIL import Image

from sluice.ledger import Database
from tests.support.gateway_house import House, open_house
from tests.support.jobs_running import Operator, until
from tools.stack import Servers, free_port

BUCKET: Final = "camera"
WINDOW: Final = 100


@pytest.fixture(scope="module")
def house(servers: Servers) -> Iterator[House]:
    servers.start()
    servers.s3.client.create_bucket(Bucket=BUCKET)
    with open_house(servers, "camera", free_port(), drift_window=WINDOW) as opened:
        yield opened


def shot(number: int, light: float) -> bytes:
    """Return a small picture of the camera's, each a little brighter or darker than the others."""
    level = round(light * (100 + number * 37 % 60))
    picture = Image.new("RGB", (64, 48), (level, level, number % 7))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue() + number.to_bytes(4, "big")  # no two are the same


def test_a_camera_that_goes_dark_is_noticed(house: House) -> None:
    stack = house.stack
    stack.start_workers(consumers=1, drift_window=WINDOW)
    with Database(stack.settings) as database:
        operator = Operator(stack, database)

        def classify(folder: str, count: int, light: float) -> None:
            stack.servers.s3.fill(BUCKET, ((f"{folder}/{n:04}.png", shot(n, light)) for n in range(count)))
            ended = operator.ended(operator.submit(f"s3://{BUCKET}/{folder}/"))
            assert (ended.state, ended.done) == ("done", count)

        def alarms() -> set[str]:
            return {row["statistic"] for row in operator.sql("SELECT statistic FROM drift WHERE state = 'alarm'")}

        def counted() -> int:
            return int(operator.sql("SELECT COALESCE(SUM(pictures), 0) AS n FROM label_days")[0]["n"])

        classify("day", 2 * WINDOW, 1.0)
        until(lambda: counted() == 2 * WINDOW, "the pictures are counted")
        assert operator.command("drift", "noop").returncode == 0
        assert alarms() == set()
        classify("night", 2 * WINDOW, 0.5)
        until(lambda: "brightness" in alarms(), "the alarm")
        said = operator.command("drift", "noop")
        assert said.returncode == 1, said.stdout + said.stderr
        assert f"s3://{BUCKET}/night/" in said.stdout
        assert f"s3://{BUCKET}/day/" not in said.stdout
        (producer,) = stack.producers
        metric = 'sluice_drift_alarm{{model="{}",statistic="brightness"}}'
        model = operator.sql("SELECT model FROM drift LIMIT 1")[0]["model"]
        until(lambda: producer.metrics().get(metric.format(model)) == 1, "the metric")
        _look(house, model)
        assert operator.command("drift", model, "--reset").returncode == 0
        assert alarms() == set()
        operator.check()


def _look(house: House, model: str) -> None:
    (version,) = house.admin.get("/api/v1/drift").json()["versions"]
    assert (version["model"], version["state"], version["live"]) == (model, "alarm", True)
    assert "brightness" in {each["statistic"] for each in version["findings"] if each["alarm"]}
    told = house.admin.get(f"/api/v1/drift/{model.replace('@', '/')}").json()
    moved = {each["url"] for each in told["pictures"] if each["statistic"] == "brightness"}
    assert moved
    assert all(url.startswith(f"s3://{BUCKET}/night/") for url in moved)
    path = f"/drift/{model.replace('@', '/')}"
    assert path in house.admin.get("/drift").text
    page = house.admin.get(path).text
    assert "What moved brightness" in page
    assert "<polyline" in page
    assert "/thumbnail" in page
    for each in ("/drift", path, "/api/v1/drift"):
        assert house.ada.get(each).status_code == 403
    assert house.admin.get("/drift/noop/77").status_code == 404
