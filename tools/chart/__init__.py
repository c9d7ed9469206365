"""Generates files from the chart's values.yaml."""
