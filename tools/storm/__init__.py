"""Fault injection on real servers: `scripts/chaos` measures, `tests/chaos` asserts on the same runs."""
