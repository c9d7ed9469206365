"""A package, so that its fixtures of that scope end with its last test, and the whole system that they run."""
