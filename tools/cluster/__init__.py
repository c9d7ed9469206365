"""A throwaway Kubernetes on this machine, for tests: `scripts/cluster up`. Only uses the standard library.

One node without an image registry: its programs are built from Go modules or unpacked from Debian packages, and cached.
It runs in its own namespaces (processes, mounts, network), so ending the first process ends everything.
"""
