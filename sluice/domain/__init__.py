"""What all processes talk about and none owns: objects as listed, models, sources, and why an object is given up.

The ground floor: it imports `sluice.errors` and the standard library, so whoever needs one of these words loads neither
SQL nor S3 nor HTTP.
"""

from sluice.domain.listed import ListedObject
from sluice.domain.model import Model
from sluice.domain.reasons import ReadFailure, Reason
from sluice.domain.source import INSIDE, check_source, go_inside, is_inside

__all__ = ["INSIDE", "ListedObject", "Model", "ReadFailure", "Reason", "check_source", "go_inside", "is_inside"]
