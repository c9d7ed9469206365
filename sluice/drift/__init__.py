"""What is measured of pictures and predictions, and when a model's pictures have drifted: arithmetic, no SQL.

`measuring` makes a few numbers of a decoded picture, `WindowCounts` counts them in fixed buckets, `compare` says which
counts differ from those of a reference by more than chance.
"""

from sluice.drift.buckets import PICTURE, STATISTICS, Statistic, bucket_name, bucket_of
from sluice.drift.counting import MeasuredPrediction, WindowCounts
from sluice.drift.judging import WindowFinding, compare, moved
from sluice.drift.measures import PictureMeasures

__all__ = [
    "PICTURE",
    "STATISTICS",
    "MeasuredPrediction",
    "PictureMeasures",
    "Statistic",
    "WindowCounts",
    "WindowFinding",
    "bucket_name",
    "bucket_of",
    "compare",
    "moved",
]
