"""The pages: what the API does, for people with a browser."""
