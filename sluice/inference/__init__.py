"""Asking TorchServe: one request (client), which endpoint gets it (balancer), and what its answer means (wire)."""

from sluice.inference.balancer import Balancer
from sluice.inference.client import TorchServeClient
from sluice.inference.wire import Answer, Explanation, Refusal

__all__ = ["Answer", "Balancer", "Explanation", "Refusal", "TorchServeClient"]
