"""Tests all of compose.yaml on a Docker engine of its own, without an image registry: `scripts/compose-test`."""
