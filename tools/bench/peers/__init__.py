"""Other ways from photos in S3 to rows in a database, each measured beside Sluice: `scripts/bench peers`.

Each peer is one file, written as its own documentation advises, and runs in an environment of its own.
"""
