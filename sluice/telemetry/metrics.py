"""All metrics of all processes, named with the words of docs/architecture.md."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from sluice.domain import Reason

SECONDS: Final = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)

LISTED = Counter("sluice_listed_total", "Objects that listings added to the ledger")
LEASED = Counter("sluice_leased_total", "Objects handed to a consumer")
RECEIVED = Counter("sluice_received_total", "Objects received from a producer")
DECODED = Counter("sluice_decoded_total", "Images decoded")
INFERRED = Counter("sluice_inferred_total", "Images that TorchServe gave a prediction for")
CACHED = Counter("sluice_cached_total", "Images answered from the content cache, without TorchServe")
COMMITTED = Counter("sluice_committed_total", "Predictions committed")
REDELIVERED = Counter("sluice_redelivered_total", "Objects handed out again because their consumer died or fell silent")
RETURNED = Counter("sluice_returned_total", "Objects that a consumer gave back unfinished")
QUARANTINED = Counter("sluice_quarantined_total", "Objects quarantined, by reason", ["reason"])
SUPERSEDED = Counter("sluice_superseded_total", "Objects whose key turned out to have a newer version")
REJECTED_FRAMES = Counter("sluice_rejected_frames_total", "Messages that could not be understood")
OVERLOADED = Counter("sluice_overloaded_total", "Batches that TorchServe answered with 503: send again later")
TORCHSERVE_REQUESTS = Counter(
    "sluice_torchserve_requests_total", "Batches sent to TorchServe, by endpoint and outcome", ["endpoint", "outcome"]
)
TORCHSERVE_PROBES = Counter(
    "sluice_torchserve_probes_total",
    "Blank images sent to TorchServe, by endpoint and outcome",
    ["endpoint", "outcome"],
)
LEDGER_RETRIES = Counter("sluice_ledger_retries_total", "Transactions that failed for now, by cause", ["cause"])
LEDGER_LOCK_WAITS = Counter(
    "sluice_ledger_lock_waits_total",
    "Waits for a row that others kept locked, by the host that held locks for longest; unknown: no privilege to see it",
    ["holder"],
)
LOG_FAILURES = Counter(
    "sluice_log_failures_total", "Writes to the log that failed: its disk is full, or its reader gone"
)

GATEWAY_REQUESTS = Counter("sluice_gateway_requests_total", "Requests to the gateway", ["route", "status"])
GATEWAY_REFUSED = Counter("sluice_gateway_refused_total", "Requests that were refused because the gateway was full")
GATEWAY_REMOVED = Counter(
    "sluice_gateway_removed_total", "Pictures and archives deleted after SLUICE_GATEWAY_KEEP_DAYS", ["what"]
)

TRAININGS = Counter(
    "sluice_trainings_total", "Trainings that this trainer ended: done, failed, or left to the next one", ["outcome"]
)
TRAINING_STEPS = Counter(
    "sluice_training_steps_total", "Steps of trainings, by stage: pictures, or rounds of fitting", ["stage"]
)
TRAINING_FILES_REMOVED = Counter(
    "sluice_training_files_removed_total", "Files removed from the model store that no training needs", ["what"]
)
LOADS = Counter(
    "sluice_loads_total",
    "Tries to have TorchServe load a version: served, or what was at fault (archive, memory, model, server)",
    ["outcome"],
)

IN_FLIGHT = Gauge("sluice_in_flight", "Objects leased (producer) or held (consumer) and not finished")
BACKLOG = Gauge("sluice_backlog", "Pending objects of the running jobs that this producer owns, including leased ones")
CREDIT = Gauge("sluice_credit", "Objects that consumers would take beyond those they hold")
CONSUMERS = Gauge("sluice_consumers", "Consumers that this producer knows")
LOCKED = Gauge("sluice_locked", "Objects with a prediction that can't be committed while others keep their rows locked")
QUEUE_DEPTH = Gauge("sluice_queue_depth", "Objects in a queue", ["queue"])
ENDPOINT_UP = Gauge(
    "sluice_endpoint_up",
    "Whether predictions come back from a TorchServe address, or a name finds one",
    ["endpoint"],
)
DRIFT = Gauge(
    "sluice_drift",
    "How far the last window of a live model is from its reference: population stability index, or rise of a rate",
    ["model", "statistic"],
)
DRIFT_ALARM = Gauge(
    "sluice_drift_alarm", "1 if the last window of a live model differs from its reference", ["model", "statistic"]
)
TRIAL = Gauge("sluice_trial", "1 for a trial that hasn't ended: pending or running", ["model", "mode", "state"])
TRIAL_SHARE = Gauge("sluice_trial_share", "Share of the objects that a trial's candidate answers", ["model"])
TRIAL_ANSWERED = Gauge("sluice_trial_answered", "Objects that a trial's candidate has answered so far", ["model"])
TRIAL_FAILED = Gauge("sluice_trial_failed", "Objects that a trial's candidate could not answer so far", ["model"])
TRIAL_AGREEMENT = Gauge(
    "sluice_trial_agreement", "Share of a shadow's answers so far that are those of the live version", ["model"]
)
GATEWAY_INSIDE = Gauge("sluice_gateway_pictures", "Pictures that the gateway is processing")
GATEWAY_SWEEP_FAILED = Gauge(
    "sluice_gateway_sweep_failed", "1 if the last sweep for pictures and archives whose time is over failed"
)
TRAINING_AT_WORK = Gauge("sluice_training_at_work", "1 while this trainer has a training")
TRAINER_SWEEP_FAILED = Gauge(
    "sluice_trainer_sweep_failed", "1 if the last sweep of the model store for what no training needs failed"
)
WANTED_VERSIONS = Gauge(
    "sluice_wanted_versions", "Versions that this TorchServe should serve, by how far it is with them", ["state"]
)

# Prometheus sees no increase if a counter first appears with 1, so each reason exists from the start.
for _reason in Reason:
    QUARANTINED.labels(reason=_reason)

STAGE_SECONDS = Histogram("sluice_stage_seconds", "Seconds an image spent in a stage", ["stage"], buckets=SECONDS)
GATEWAY_SECONDS = Histogram(
    "sluice_gateway_seconds", "Seconds from a request's head to its answer", ["route"], buckets=SECONDS
)
OBJECT_SECONDS = Histogram("sluice_object_seconds", "Seconds from an object's lease to its end", buckets=SECONDS)
