"""The gateway: pages and an API for people who know neither kubectl nor SQL."""
