"""Pictures and archives that people left with a gateway on days of the test's choosing; no gateway runs."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from gateway.retention import Retention, SweepResult
from gateway.store import PictureStore
from sluice import ledger
from sluice.domain import Model
from sluice.ledger import Database, LedgerCursor, pictures, shown, uploads
from sluice.ledger.pictures import Picture
from sluice.ledger.uploads import NewUpload
from sluice.objects import open_source
from sluice.settings import Settings
from tests.support.corpus import SPEC
from tools.stack import S3Server

KEEP: Final = 30
BEGIN: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
TOP: Final = (("cat", 0.75), ("dog", 0.25))
ADA, BOB = 7, 8


class Calendar:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = BEGIN

    def __call__(self) -> datetime:
        return self.now

    def after(self, days: int) -> None:
        self.now = BEGIN + timedelta(days=days)


@dataclass
class Household:
    """A store, its ledger, and a clock that they share."""

    settings: Settings
    database: Database
    s3: S3Server
    clock: Calendar
    models: list[Model]

    def store(self) -> PictureStore:
        return PictureStore(self.settings, self.clock)

    def there(self) -> list[str]:
        bucket = str(self.settings.gateway_store).split("/")[2]
        pages = self.s3.client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return [each["Key"] for page in pages for each in page.get("Contents", [])]

    def drop(self, data: bytes, user_id: int = ADA, model: int = 0) -> int:
        """Keep a picture and make its row, as the classifier does; return the object."""
        return self.drop_all([data], user_id, model)[0]

    def drop_all(self, some: Sequence[bytes], user_id: int = ADA, model: int = 0) -> list[int]:
        store = self.store()

        async def put() -> list[Picture]:
            found = []
            for data in some:
                sha256 = hashlib.sha256(data).digest()
                key = store.picture_key(user_id, sha256)
                etag = await store.put(key, data, sha256)
                name = f"{data[:20]!r}.jpg"
                row = (user_id, self.models[model].id, store.source, key, etag, len(data), sha256, name, TOP, "test")
                found.append(Picture(*row))
            return found

        made = asyncio.run(put())
        store.close()
        return self.database.run(pictures.record, made)

    def sweep(self) -> SweepResult | None:
        store = self.store()
        try:
            return asyncio.run(Retention(self.settings, store, self.clock).sweep())
        finally:
            store.close()

    def is_kept(self, object_id: int) -> bool:
        found = self.database.run(shown.find, object_id, 0, is_admin=True)
        assert found is not None, "the row is there whatever became of the bytes"
        return found.removed is None

    def read(self, object_id: int) -> bytes:
        found = self.database.run(shown.find, object_id, 0, is_admin=True)
        assert found is not None
        source = open_source(found.source, self.settings)
        try:
            return asyncio.run(source.read(found.key, found.etag, 1000))
        finally:
            source.close()

    def sql(self, statement: str, *values: object) -> list[dict[str, Any]]:
        def work(cursor: LedgerCursor) -> list[dict[str, Any]]:
            cursor.execute(statement, values)
            return list(cursor.fetchall())

        return self.database.run(work)


def register(cursor: LedgerCursor) -> list[Model]:
    return [
        ledger.models.register(cursor, "model", version, version * 64, SPEC.to_dict(), ["cat", "dog"])
        for version in ("1", "2")
    ]


def upload(house: Household, number: int, *, days: int, state: str) -> str:
    """Insert an archive that was sent some days ago and whose job has this state."""
    store, upload_id = house.store(), f"{number:032x}"
    key = store.archive_key(upload_id, "ü.zip")
    asyncio.run(store.put(key.encode(), b"zip", hashlib.sha256(b"zip").digest()))
    new = NewUpload(upload_id, ADA, "ü.zip", store.bucket, key, 3, "", 0)
    made = house.database.run(uploads.create, new)
    store.close()
    house.sql("UPDATE uploads SET created = created - INTERVAL %s DAY WHERE id = %s", days, upload_id)
    house.sql(
        "UPDATE jobs SET state = %s, finished = CURRENT_TIMESTAMP(3) - INTERVAL %s DAY WHERE id = %s",
        state,
        days,
        made.job_id,
    )
    return upload_id
