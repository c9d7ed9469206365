"""I4 and I7 for `sluice check --metrics URL`: checks the metrics of running processes.

A consumer rejects and counts each message that exceeds its credit. So I4 holds if the credit was never below zero and
nothing was rejected. Memory is checked as it is now, not at its peak.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import requests
from prometheus_client.parser import text_string_to_metric_families

from sluice.cli.check_result import CheckResult
from sluice.cli.screen import counted

TIMEOUT: Final = 5.0
MB: Final = 1_000_000
RESIDENT: Final = "process_resident_memory_bytes"


def figures_of(url: str) -> dict[str, float] | None:
    """Return a process's metrics without labels; None if it doesn't answer with metrics."""
    whole = url if "://" in url else f"http://{url}"
    if whole.count("/") <= 2:  # noqa: PLR2004 - scheme://host without a path
        whole += "/metrics"
    try:
        answer = requests.get(whole, timeout=TIMEOUT)
        answer.raise_for_status()
        samples = [sample for family in text_string_to_metric_families(answer.text) for sample in family.samples]
    except (requests.RequestException, ValueError):
        return None
    return {sample.name: sample.value for sample in samples if not sample.labels}


def check_processes(
    credit: CheckResult,
    memory: CheckResult,
    urls: Sequence[str],
    limit_mb: int,
    ask: Callable[[str], dict[str, float] | None] = figures_of,
) -> list[str]:
    """Check each process; return the URLs that didn't answer."""
    unanswered: list[str] = []
    consumers = 0
    for url in urls:
        figures = ask(url)
        if figures is None:
            unanswered.append(url)
            continue
        if figures.get("sluice_received_total", 0):
            consumers += 1
            _judge_credit(credit, url, figures)
        _judge_memory(memory, url, figures, limit_mb)
    if unanswered:
        memory.verified = False
        memory.notes.append("not all processes answered")
    if not consumers:
        credit.notes.append("none of the processes that answered has received objects: name the consumers' /metrics")
    elif not credit.notes and not unanswered:
        credit.verified = True
        credit.notes.append(f"asked {counted(consumers, 'consumer')}")
    return unanswered


def _judge_credit(credit: CheckResult, url: str, figures: dict[str, float]) -> None:
    left = figures.get("sluice_credit", 0)
    if left < 0:
        credit.breaches.append(f"{url}: {-left:,.0f} objects more than its credit")
    refused = figures.get("sluice_rejected_frames_total", 0)
    if refused:
        credit.notes.append(f"{url} refused {refused:,.0f} messages: its log says whether they went beyond the credit")


def _judge_memory(memory: CheckResult, url: str, figures: dict[str, float], limit_mb: int) -> None:
    resident = figures.get(RESIDENT)
    if resident is None:
        memory.notes.append(f"{url} does not say how much memory it has")
        return
    if resident > limit_mb * MB:
        memory.breaches.append(f"{url} has {resident / MB:,.0f} MB, more than {limit_mb:,} MB")
    else:
        memory.verified = True
        memory.notes.append(f"{url} has {resident / MB:,.0f} MB now, at most {limit_mb:,} MB are allowed")
