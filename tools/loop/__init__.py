"""The loop from labelled pictures to a better model, and back, on real servers: `scripts/loop`."""
