"""What goes wrong with a cluster, told to a person."""


class ClusterError(Exception):
    """Raised when the cluster can't be built, started or used; says what to do."""
