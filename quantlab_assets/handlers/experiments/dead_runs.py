"""Experiments whose run died without a word: found by the right to run them being free.

Asking costs nothing while every run is alive, so whoever looks at experiments asks first.
"""

from quantlab_assets.domain.experiments.records import ExperimentFilter, ExperimentRecord
from quantlab_assets.ports.experiment_tracker import ExperimentTracker


def settle_dead_runs(tracker: ExperimentTracker) -> tuple[str, ...]:
    """Record every dead run as failed, and return the experiments; each can be executed again."""
    settled = []
    for record in tracker.list(ExperimentFilter(status="running")):
        with tracker.hold_run(record.experiment_id) as ours:
            if ours and settle(tracker, record.experiment_id):
                settled.append(record.experiment_id)
    return tuple(settled)


def settle(tracker: ExperimentTracker, experiment_id: str) -> bool:
    """Record a dead run as failed. To be called by who holds the right to run the experiment."""
    if tracker.get(experiment_id).status != "running":
        return False
    tracker.update_status(
        experiment_id,
        "failed",
        error=f"the run died ({where_it_runs(tracker, experiment_id)}); execute it again to resume",
    )
    return True


def where_it_runs(tracker: ExperimentTracker, experiment_id: str) -> str:
    """Which process the last run is, for people."""
    runs = [event for event in tracker.events(experiment_id) if event.new_status == "running"]
    if not runs:
        return "no run on record"
    at = runs[-1]
    process, host = at.details.get("pid", "?"), at.details.get("host", "?")
    return f"process {process} on {host}, since {at.at:%Y-%m-%d %H:%M:%S} UTC"


def running_elsewhere(tracker: ExperimentTracker, record: ExperimentRecord) -> str:
    """One line for who wants to run an experiment that somebody else runs."""
    return (
        f"experiment {record.experiment_id} is running already"
        f" ({where_it_runs(tracker, record.experiment_id)}): wait for it, or cancel it"
    )
