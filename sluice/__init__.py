"""Sluice classifies every image of a bucket once and leaves one row per image in MySQL."""

__version__ = "0.1.0"
