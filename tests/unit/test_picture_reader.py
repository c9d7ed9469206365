"""How a trainer reads pictures of many sources."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from sluice.objects import Source, open_source
from sluice.settings import Settings, read_settings
from trainer.pictures import looking
from trainer.pictures.labelled import LabelledPicture
from trainer.pictures.looking import SOURCES_OPEN, PictureReader


def test_rows_of_many_archives_leave_few_of_them_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand open ones would be more connections than a process may have."""
    is_open = set[str]()
    most = 0

    def opened(name: str, settings: Settings) -> Source:
        nonlocal most
        source = open_source(name, settings)
        is_open.add(name)
        most = max(most, len(is_open))
        monkeypatch.setattr(source, "close", lambda: is_open.remove(name))
        return source

    monkeypatch.setattr(looking, "open_source", opened)
    pictures = []
    for number in range(3 * SOURCES_OPEN):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "a.jpg").write_bytes(b"%d" % number)
        pictures.append(LabelledPicture("", "cat", f"file://{folder}", b"a.jpg"))

    async def read(*some: LabelledPicture) -> list[bytes]:
        return [data for _, data in await asyncio.gather(*(reader.read(each) for each in some))]

    reader = PictureReader(read_settings())
    for each in pictures:
        assert asyncio.run(read(each)) == [b"%d" % pictures.index(each)]
    assert len(is_open) == SOURCES_OPEN
    assert most == SOURCES_OPEN + 1

    # None is closed that is being read.
    assert asyncio.run(read(*pictures)) == [b"%d" % number for number in range(len(pictures))]
    assert len(is_open) == SOURCES_OPEN
    reader.close()
    assert not is_open
