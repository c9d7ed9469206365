"""The unknown storm: faults drawn from all that can be done to a Sluice here, judged by SQL and hashes of its own."""
