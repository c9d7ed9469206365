"""What a peer's program is given, as task.json in the folder that it runs in: photos, a model, a table.

The programs import it in their own environments, so it needs nothing but what is locked for each of them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import boto3
import pymysql

FILE: Final = Path("task.json")
TABLE: Final = "labels"
INSERT: Final = f"INSERT INTO {TABLE} (url, label, score, fetched) VALUES (%s, %s, %s, %s)"  # noqa: S608 - a constant

Row = tuple[str, str, float, float]
"""URL, label, score, and when the photo was there, in seconds since 1970."""


@dataclass(frozen=True)
class Task:
    """Where the photos are, and how the work is to be shared; S3's keys come from boto3's usual variables."""

    endpoint: str
    region: str
    bucket: str
    photos: int
    """How many."""
    archive: str
    """The model's."""
    database: str
    option_file: str
    """Of MySQL's clients: how to connect."""
    batch: int
    processes: int
    threads: int
    """Of torch in each process."""
    port: int
    """On 127.0.0.1, for peers that are servers."""

    @classmethod
    def read(cls, path: Path = FILE) -> Task:
        """Return the task of this folder."""
        return cls(**json.loads(path.read_text()))

    def write(self, folder: Path) -> None:
        """Write it for a program that runs in a folder."""
        (folder / FILE).write_text(json.dumps(asdict(self)))

    def list_keys(self) -> list[str]:
        """List the photos."""
        pages = boto3.Session().client("s3", endpoint_url=self.endpoint).get_paginator("list_objects_v2")
        return [entry["Key"] for page in pages.paginate(Bucket=self.bucket) for entry in page.get("Contents", ())]

    def connect(self) -> pymysql.Connection[pymysql.cursors.Cursor]:
        """Connect to the database."""
        return pymysql.connect(read_default_file=self.option_file, database=self.database)

    def insert(self, connection: pymysql.Connection[pymysql.cursors.Cursor], rows: Sequence[Row]) -> None:
        """Insert rows in one transaction."""
        with connection.cursor() as cursor:
            cursor.executemany(INSERT, rows)
        connection.commit()
