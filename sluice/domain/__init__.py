"""Types that all processes share: listed objects, models, sources, and the reasons of the quarantine.

The lowest floor: it imports only `sluice.errors` and the standard library, so importing it loads no SQL, S3 or HTTP.
"""

from sluice.domain.labels import check_label, read_csv
from sluice.domain.listed import ListedObject
from sluice.domain.model import LABEL_MAX, Model
from sluice.domain.reasons import ReadFailure, Reason
from sluice.domain.source import INSIDE, SOURCE_MAX, check_source, go_inside, is_inside

__all__ = [
    "INSIDE",
    "LABEL_MAX",
    "SOURCE_MAX",
    "ListedObject",
    "Model",
    "ReadFailure",
    "Reason",
    "check_label",
    "check_source",
    "go_inside",
    "is_inside",
    "read_csv",
]
