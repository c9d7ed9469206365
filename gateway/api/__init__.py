"""The API, /api/v1: thin routes that parse, ask and answer."""
