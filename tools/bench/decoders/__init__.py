"""Sluice's decoding of large photos beside other libraries': `scripts/bench photos`."""
