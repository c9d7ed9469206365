"""`scripts/cluster`: a throwaway Kubernetes on this machine, for tests and for trying things out."""

from __future__ import annotations

import argparse
import sys
import time

from tools.cluster.builder import NAMES, Builder, version
from tools.cluster.cluster import CORE, Cluster
from tools.cluster.errors import ClusterError
from tools.cluster.folders import NODE, ClusterFolders
from tools.cluster.pieces import PIECES

EXAMPLES = """\
examples:
  scripts/cluster up                       build what is missing, start, wait until it is ready
  export KUBECONFIG=$(scripts/cluster kubeconfig) PATH=$(scripts/cluster path):$PATH
  kubectl get pods -A                      kubectl and helm come with it
  scripts/cluster images                   build this checkout's images into it
  scripts/cluster load images.tar          take in what `docker save` wrote
  scripts/cluster down                     end it; nothing but built programs and images stays, in the cache
"""


def main() -> None:
    """Do what the arguments say."""
    parser = argparse.ArgumentParser(
        prog="scripts/cluster",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    build = commands.add_parser("build", help="build what is missing into the cache, start nothing")
    build.add_argument(
        "more", nargs="*", metavar="PIECE", help=f"in addition to the cluster's own: {', '.join(PIECES.keys() - CORE)}"
    )
    build.add_argument("--only", action="store_true", help="those PIECEs alone, and helm: for what needs no cluster")
    commands.add_parser("up", help="start it (a running one is left alone)")
    commands.add_parser("down", help="end it and clean up")
    commands.add_parser("status", help="say whether it runs, and what runs on it; exit code 1 if it doesn't")
    images = commands.add_parser("images", help="build the project's images into it")
    images.add_argument("image", nargs="*", metavar="IMAGE", help=f"of {', '.join(NAMES)} (default: all)")
    images.add_argument("--tag", default=version(), help="default: the project's version, %(default)s")
    load = commands.add_parser("load", help="take in image archives")
    load.add_argument("archive", nargs="+", help="a file that `docker save` wrote, or an OCI archive")
    commands.add_parser("kubeconfig", help="print the path of its kubeconfig")
    commands.add_parser("path", help="print the folder with kubectl and helm")
    arguments = parser.parse_args()
    for given, known in (("more", PIECES), ("image", NAMES)):
        if unknown := set(getattr(arguments, given, [])) - known.keys():
            parser.error(f"{', '.join(sorted(unknown))}: use {', '.join(known)}")
    cluster = Cluster(ClusterFolders.find())
    try:
        run(cluster, arguments)
    except ClusterError as error:
        sys.exit(f"scripts/cluster: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def run(cluster: Cluster, arguments: argparse.Namespace) -> None:
    """Run one command."""
    match arguments.command:
        case "build":
            build = cluster.build_programs if arguments.only else cluster.build
            build(*arguments.more)
        case "up":
            up(cluster)
        case "down":
            cluster.down()
        case "status":
            status(cluster)
        case "images":
            cluster.build("buildkit")
            Builder(cluster).build(arguments.image or NAMES, arguments.tag)
        case "load":
            for archive in arguments.archive:
                cluster.load(archive)
        case "kubeconfig":
            print(cluster.place.kubeconfig)
        case "path":
            print(cluster.cache.programs)


def up(cluster: Cluster) -> None:
    """Start it, and say how to use it."""
    cluster.build()
    started = time.monotonic()
    cluster.up()
    print(f"cluster: ready after {time.monotonic() - started:.0f} s")
    print(f"    export KUBECONFIG={cluster.place.kubeconfig} PATH={cluster.cache.programs}:$PATH")


def status(cluster: Cluster) -> None:
    """Show what runs on it."""
    if not cluster.is_up:
        sys.exit("cluster: down; `scripts/cluster up` starts it")
    print(cluster.kubectl("get", "node", NODE))
    print(cluster.kubectl("get", "pods", "-A"))


if __name__ == "__main__":
    main()
