"""Makes from the chart's values.yaml what repeats it."""
