"""The parts of `scripts/bench`: photos, the rivals on the same photos, each stage alone, and the report."""
