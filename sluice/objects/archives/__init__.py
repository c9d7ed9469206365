"""Zips and tars in a bucket or folder, read in place: listing is their directory, fetching a member is a range."""

from sluice.objects.archives.source import Archives

__all__ = ["Archives"]
