"""Requests to TorchServe: sending one (client), choosing the endpoint (balancer), and reading the answer (wire)."""

from sluice.inference.balancer import Balancer, Outcome, SideBalancer
from sluice.inference.client import TorchServeClient
from sluice.inference.wire import Answer, Explanation, Refusal

__all__ = ["Answer", "Balancer", "Explanation", "Outcome", "Refusal", "SideBalancer", "TorchServeClient"]
