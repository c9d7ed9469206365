"""Faults on purpose, against real servers: `scripts/chaos` measures, `tests/chaos` asserts on the same runs."""
