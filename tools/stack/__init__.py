"""Sluice's servers and processes on one machine, for the demo, the bench, the fault storm and the tests."""

from tools.stack.database import DatabaseServer
from tools.stack.disk import SmallDisk
from tools.stack.leash import Leash
from tools.stack.ports import free_port
from tools.stack.server import ROOT, Server, StackError
from tools.stack.servers import Servers, orderly_end
from tools.stack.stack import Stack
from tools.stack.storage import S3Server
from tools.stack.supervisor import Supervisor
from tools.stack.torchserve import TorchServe, archive_of, card_of
from tools.stack.workers import Gateway, Worker, start_all

__all__ = [
    "ROOT",
    "DatabaseServer",
    "Gateway",
    "Leash",
    "S3Server",
    "Server",
    "Servers",
    "SmallDisk",
    "Stack",
    "StackError",
    "Supervisor",
    "TorchServe",
    "Worker",
    "archive_of",
    "card_of",
    "free_port",
    "orderly_end",
    "start_all",
]
