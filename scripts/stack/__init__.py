"""Sluice's servers and processes on one machine, for the demo, the bench, the fault storm and the tests."""

from scripts.stack.database import DatabaseServer
from scripts.stack.disk import SmallDisk
from scripts.stack.leash import Leash
from scripts.stack.ports import free_port
from scripts.stack.server import ROOT, Server, StackError
from scripts.stack.servers import Servers, orderly_end
from scripts.stack.stack import Stack
from scripts.stack.storage import S3Server
from scripts.stack.torchserve import TorchServe, archive_of, cache_folder, card_of
from scripts.stack.workers import Worker

__all__ = [
    "ROOT",
    "DatabaseServer",
    "Leash",
    "S3Server",
    "Server",
    "Servers",
    "SmallDisk",
    "Stack",
    "StackError",
    "TorchServe",
    "Worker",
    "archive_of",
    "cache_folder",
    "card_of",
    "free_port",
    "orderly_end",
]
