"""The unknown storm: random faults of every kind that is possible here, checked by its own SQL and hashes."""
