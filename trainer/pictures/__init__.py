"""From labels to pictures that may be learned from: read, looked at, judged, and put on one side of the test."""
