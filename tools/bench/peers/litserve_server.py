"""LitServe: a server with a worker process for each share of the cores, batches of requests."""

from __future__ import annotations

import base64
from typing import Any

import litserve

from tools.bench.peers.labeler import Labeler
from tools.bench.peers.task import Task

BATCH_SECONDS = 0.05


class ClassifierAPI(litserve.LitAPI):  # type: ignore[misc]  # not installed where types are checked
    """POST /predict with {"image_data": "..."} as JSON."""

    def setup(self, device: str) -> None:
        """Load the model in a worker."""
        del device
        self.labeler = Labeler(Task.read())

    def decode_request(self, request: dict[str, str]) -> bytes:
        """Return a request's photo."""
        return base64.b64decode(request["image_data"])

    def batch(self, inputs: list[bytes]) -> list[bytes]:
        """Return the batch as it is: photos become one tensor when they are decoded."""
        return inputs

    def predict(self, x: list[bytes], **_: Any) -> list[tuple[str, float]]:  # noqa: ANN401 - LitServe's
        """Return labels and scores."""
        return self.labeler(x)

    def unbatch(self, output: list[tuple[str, float]]) -> list[tuple[str, float]]:
        """Return the answers one by one."""
        return output

    def encode_response(self, output: tuple[str, float]) -> dict[str, Any]:
        """Return an answer."""
        return {"label": output[0], "score": output[1]}


def main() -> None:
    """Serve until SIGTERM."""
    task = Task.read()
    api = ClassifierAPI(max_batch_size=task.batch, batch_timeout=BATCH_SECONDS)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=task.processes, timeout=60)
    server.run(host="127.0.0.1", port=task.port, num_api_servers=1, generate_client_file=False)


if __name__ == "__main__":
    main()
