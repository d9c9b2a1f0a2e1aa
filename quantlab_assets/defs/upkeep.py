"""What keeps a lake healthy by itself, all of it off unless switched on.

Nightly copies of the manifest, a nightly look for garbage, a weekly check of every byte, and word
of experiments whose inputs were replaced. Nothing here deletes data.
"""

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import dagster as dg

from quantlab_assets.defs.resources import LakeResource
from quantlab_assets.domain.artifacts.identity import content_digest
from quantlab_assets.domain.assets import REPORT
from quantlab_assets.domain.experiments.records import ExperimentFilter
from quantlab_assets.ports.experiment_tracker import ExperimentTracker

BACKUPS_KEPT: Final = 14
SHOWN: Final = 20
_BACKUP: Final = re.compile(r"manifest-\d{8}T\d{6}Z\.sqlite")


@dg.op
def check_every_artifact(context: dg.OpExecutionContext, lake: LakeResource) -> None:
    """Hash every file again and check every row; fails naming what is wrong."""
    report = lake.audit(fraction=1.0)
    context.add_output_metadata(
        {
            "artifacts": report.artifacts,
            "files_hashed": report.files_hashed,
            "bytes_hashed": report.bytes_hashed,
            "unreferenced_files": len(report.unreferenced),
        }
    )
    if not report.ok:
        raise dg.Failure(
            f"{len(report.problems)} problems; quantlab artifacts verify --repair moves damaged "
            "files aside",
            metadata={
                "problems": dg.MetadataValue.json(
                    [
                        {
                            "code": problem.code,
                            "subject": problem.subject,
                            "detail": problem.detail,
                        }
                        for problem in report.problems[:SHOWN]
                    ]
                )
            },
            allow_retries=False,
        )


@dg.op
def look_for_garbage(context: dg.OpExecutionContext, lake: LakeResource) -> None:
    """Tell what garbage collection would take; takes nothing."""
    report = lake.collectable()
    context.add_output_metadata(
        {
            "files": len(report.files),
            "bytes": report.bytes,
            "too_young": report.too_young,
            "paths": dg.MetadataValue.json([file.path for file in report.files[:SHOWN]]),
        }
    )
    if report.files:
        context.log.info("quantlab artifacts gc --yes takes %d files away", len(report.files))


@dg.op
def copy_manifest(context: dg.OpExecutionContext, lake: LakeResource) -> None:
    """Copy the manifest into `<lake>/backups`; the newest copies are kept."""
    report = lake.backup()
    for old in outdated(report.path.parent):
        context.log.info("%s is old enough to go", old.name)
        shutil.rmtree(old.with_name(f"{old.name}.code"), ignore_errors=True)
        old.unlink(missing_ok=True)
    context.add_output_metadata(
        {
            "path": dg.MetadataValue.path(report.path),
            "bytes": report.bytes,
            "artifacts": report.artifacts,
        }
    )


def outdated(folder: Path) -> list[Path]:
    """Copies beyond the newest `BACKUPS_KEPT`. Files of other names are somebody else's."""
    copies = sorted(path for path in folder.iterdir() if _BACKUP.fullmatch(path.name))
    return copies[:-BACKUPS_KEPT]


@dg.job(description="Checks every artifact: files, hashes, sidecars, rows, relations.")
def verify_lake() -> None:
    """One op."""
    check_every_artifact()


@dg.job(description="Tells what garbage collection would take. A dry run: nothing is deleted.")
def garbage_report() -> None:
    """One op."""
    look_for_garbage()


@dg.job(description="Copies the manifest into the lake's backups folder.")
def manifest_backup() -> None:
    """One op."""
    copy_manifest()


UPKEEP_JOBS: Final = (verify_lake, garbage_report, manifest_backup)
UPKEEP_SCHEDULES: Final = (
    dg.ScheduleDefinition(
        name="nightly_backup",
        job=manifest_backup,
        cron_schedule="45 4 * * *",
        execution_timezone="UTC",
        description=f"Copies the manifest; the newest {BACKUPS_KEPT} copies are kept.",
    ),
    dg.ScheduleDefinition(
        name="nightly_garbage_report",
        job=garbage_report,
        cron_schedule="0 5 * * *",
        execution_timezone="UTC",
        description="Tells what garbage collection would take; deletes nothing.",
    ),
    dg.ScheduleDefinition(
        name="weekly_verify",
        job=verify_lake,
        cron_schedule="15 5 * * 0",
        execution_timezone="UTC",
        description="Checks every artifact of the lake; the run fails if anything is damaged.",
    ),
)


def newly_stale(
    tracker: ExperimentTracker, told: Mapping[str, str]
) -> tuple[dict[str, Mapping[str, str | None]], dict[str, str]]:
    """Completed experiments whose inputs were replaced since that was last told.

    Returns the replaced inputs of each, with what took their places, and what is told now: a digest
    of the replaced inputs of every stale experiment.
    """
    news: dict[str, Mapping[str, str | None]] = {}
    now: dict[str, str] = {}
    for record in tracker.list(ExperimentFilter(status="completed", stale=True)):
        replaced = tracker.superseded_inputs(record.experiment_id)
        digest = content_digest([f"{old} {new}" for old, new in sorted(replaced.items())])
        now[record.experiment_id] = digest
        if told.get(record.experiment_id) != digest:
            news[record.experiment_id] = replaced
    return news, now


@dg.sensor(
    minimum_interval_seconds=600,
    asset_selection=dg.AssetSelection.assets(REPORT),
    description="Notes on the report of each completed experiment which of its inputs were "
    "replaced since. Starts nothing: the frozen inputs stay what the experiment is about.",
)
def superseded_inputs(context: dg.SensorEvaluationContext, lake: LakeResource) -> dg.SensorResult:
    """One look at the ledger."""
    news, notes = newly_stale(lake.lake.experiments.tracker, json.loads(context.cursor or "{}"))
    events = [
        dg.AssetObservation(
            REPORT,
            partition=experiment_id,
            description=f"{len(replaced)} of its inputs were replaced; to run it on the new ones: "
            f"quantlab experiments rerun {experiment_id}",
            metadata={
                "replaced": len(replaced),
                "by": dg.MetadataValue.json(dict(list(replaced.items())[:SHOWN])),
            },
        )
        for experiment_id, replaced in sorted(news.items())
    ]
    return dg.SensorResult(
        asset_events=events,
        cursor=json.dumps(notes, sort_keys=True),
        skip_reason=None if events else "no inputs of completed experiments were replaced since",
    )
