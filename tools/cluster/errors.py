"""Errors of a cluster, for people."""


class ClusterError(Exception):
    """Raised when the cluster can't be built, started or used; the message says what to do."""
