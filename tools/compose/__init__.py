"""compose.yaml tried whole, on an engine of its own that reaches no image registry: `scripts/compose-test`."""
