"""The parts of `scripts/bench`: photos, competitors on the same photos, each stage alone, and the report."""
