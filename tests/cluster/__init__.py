"""A package, so that its fixtures of that scope end with its last test: an idle cluster takes a quarter of a core."""
