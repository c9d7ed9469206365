"""Archives that people send: streamed into the bucket as they come, then a job."""
