"""A throwaway Kubernetes on this machine, for tests: `scripts/cluster up`. It needs the standard library only.

One node without an image registry: its programs are built from Go modules or taken out of Debian packages, into a
cache. All of it lives in namespaces of its own (processes, mounts, network): ending the first process ends everything.
"""
