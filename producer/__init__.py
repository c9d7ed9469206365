"""The producer: lists jobs into the ledger, fetches their objects, leases them to consumers, and redelivers."""
