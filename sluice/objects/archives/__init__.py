"""Zips and tars in a bucket or folder, read in place: their directory is listed, a member is read as a range."""

from sluice.objects.archives.source import Archives

__all__ = ["Archives"]
