"""People with a browser, as far as the gateway's tests need one: cookies, an origin, and the tokens of forms."""

from __future__ import annotations

import re
from typing import Any, Final

import requests

TIMEOUT: Final = 30.0
PASSWORD: Final = "a long enough secret"
ADMIN: Final = "admin@localhost"


class Visitor:
    """Visits a gateway's pages; what is sent says which page sent it, as browsers do."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.session = requests.Session()
        self.session.headers["Accept"] = "text/html"

    def get(self, path: str, **more: Any) -> requests.Response:  # noqa: ANN401 - what requests takes
        return self.session.get(self.url + path, timeout=TIMEOUT, allow_redirects=False, **more)

    def send(self, method: str, path: str, **more: Any) -> requests.Response:  # noqa: ANN401 - the same
        headers = {"Origin": self.url, **more.pop("headers", {})}
        return self.session.request(
            method, self.url + path, timeout=TIMEOUT, allow_redirects=False, headers=headers, **more
        )

    def csrf(self, page: str) -> str:
        """Return the token of a page's form."""
        answer = self.get(page)
        found = re.search(r'name="csrf" value="(\w+)"', answer.text)
        assert found, f"{page} answered {answer.status_code} without a form:\n{answer.text}"
        return found[1]

    def submit(self, page: str, action: str | None = None, **fields: str) -> requests.Response:
        """Send a page's form."""
        return self.send("POST", action or page, data={"csrf": self.csrf(page), **fields})

    def sign_in(self, email: str, password: str = PASSWORD) -> Visitor:
        answer = self.submit("/login", email=email, password=password)
        assert answer.status_code == 303, answer.text
        return self
