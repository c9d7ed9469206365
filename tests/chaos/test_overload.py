"""TorchServe gone, then full: no object is at fault, and memory doesn't grow."""

from __future__ import annotations

from tools.stack import Servers
from tools.storm import overload
from tools.storm.pictures import pictures

OBJECTS = 200
SECONDS = 10.0
GROWTH_MB = 60.0
"""Growth that outages may cause. Bytes held without bound would be hundreds in this time."""


def test_torchserve_gone_and_full_quarantines_nothing(mortal_servers: Servers) -> None:
    mortal_servers.start(mortal_servers.database, mortal_servers.s3)
    mortal_servers.s3.fill(overload.BUCKET, pictures(OBJECTS))
    found = overload.overload(mortal_servers, SECONDS, print)
    assert found.quarantined == 0
    assert found.breaches == []
    # Both ended with new rows, otherwise there would be no figure.
    assert [outage.kind for outage in found.outages] == ["gone", "full"]
    assert found.outages[1].done_during == 0, "TorchServe was not full"
    assert found.full_answers > 0
    for name, peak in found.peak_mb.items():
        assert peak - found.before_mb[name] < GROWTH_MB, name
