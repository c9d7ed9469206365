"""Attack on the gateway: every operation of its API, asked as each role for whatever its description makes possible."""
