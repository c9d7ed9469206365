"""People who use the gateway's API with a token of their own, as programs do."""

from __future__ import annotations

import hashlib
from typing import Any, Final, Self

import requests

from sluice.ledger import Database, LedgerCursor, tokens, users

TIMEOUT: Final = 30.0


class ApiClient:
    """Somebody with a token; `user_id` is theirs."""

    def __init__(self, url: str, token: str = "", user_id: int = 0) -> None:
        self.url = url
        self.user_id = user_id
        self.session = requests.Session()
        if token:
            self.session.headers["Authorization"] = f"Bearer {token}"

    @classmethod
    def make(cls, database: Database, url: str, name: str, role: str = "user") -> Self:
        """Add a person to the ledger, with a token."""
        token = f"sluice_{name}"

        def work(cursor: LedgerCursor) -> int:
            user_id = users.add(cursor, name, f"{name}@example.com", role, None)
            assert user_id is not None
            assert tokens.make(cursor, user_id, "tests", hashlib.sha256(token.encode()).digest(), None)
            return user_id

        return cls(url, token, database.run(work))

    def get(self, path: str, **more: Any) -> requests.Response:  # noqa: ANN401 - what requests takes
        return self.ask("GET", path, **more)

    def post(self, path: str, **more: Any) -> requests.Response:  # noqa: ANN401 - the same
        return self.ask("POST", path, **more)

    def ask(self, method: str, path: str, **more: Any) -> requests.Response:  # noqa: ANN401 - the same
        return self.session.request(method, self.url + path, timeout=TIMEOUT, allow_redirects=False, **more)
