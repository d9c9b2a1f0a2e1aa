"""Where the lake and its parts are, from the environment and defaults.

The only module that reads `os.environ`. Everything else is given a `Settings`.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from quantlab_assets.domain.dsn import without_secrets
from quantlab_assets.domain.errors import StoreUnavailable, ValidationFailed

LAKE_VARIABLE: Final = "QUANTLAB_LAKE"
DAGSTER_HOME_VARIABLE: Final = "DAGSTER_HOME"
TYPES_VARIABLE: Final = "QUANTLAB_TYPES_MODULE"
TIMEZONE_VARIABLE: Final = "QUANTLAB_TIMEZONE"
WINDOW_VARIABLE: Final = "QUANTLAB_SLICE_WINDOW"
HORIZONS_VARIABLE: Final = "QUANTLAB_HORIZONS"
GRADES_VARIABLE: Final = "QUANTLAB_SLICE_GRADES"


@dataclass(frozen=True, slots=True)
class Settings:
    """The paths and sources of one lake; all paths are absolute.

    `candles` is a folder of CSV and Parquet files, or an address with a scheme (`lake.sources`).
    `dagster_home` is where Dagster was told to keep its instance, None if it was told nothing.
    `telegram_rules` is a TOML laid over the packaged rules; `pseudonym_key` names the file of the
    key that hides people. `timezone` is the clock of exports whose times have no sure offset:
    `auto`, `label`, or an IANA zone; what was told for one export wins.
    `types_module` is the Python module that has the user's own types, assets and candle sources.
    `projection_budget` is how large the projection cache may become, such as `50GB`, before the
    least recently used projection is disposed of. `clickhouse_mapping` is a TOML that says which
    table and columns of a ClickHouse hold candles. `slice_window_min` are the minutes a slice
    reaches before the first and after the last call, `coverage_horizons_h` the hours coverage is
    measured for, `slice_grades` the shares of candles from which on they are good, and partial;
    empty: the defaults (docs/candles.md).
    """

    lake: Path
    manifest: Path
    artifacts_root: Path
    projection_cache: Path
    experiment_db: Path
    telegram_inbox: Path
    candles: Path | str = field(repr=False)  # a DSN may hold a password
    dagster_home: Path | None = None
    types_module: str | None = None
    telegram_rules: Path | None = None
    pseudonym_key: Path | None = None
    timezone: str = "auto"
    projection_budget: str = "50GB"
    clickhouse_mapping: Path | None = None
    slice_window_min: tuple[int, ...] = ()
    coverage_horizons_h: tuple[int, ...] = ()
    slice_grades: tuple[float, ...] = ()

    @classmethod
    def from_environment(
        cls, lake: Path | None = None, environ: Mapping[str, str] | None = None
    ) -> "Settings":
        """Settings of `lake` (default: `QUANTLAB_LAKE`, else `./lake`).

        A `lake` given here wins over `QUANTLAB_LAKE` only; a variable that names one part still
        moves that part. An empty variable counts as not set.

        Raises `ValidationFailed` for text where numbers must be.
        """
        variables = os.environ if environ is None else environ

        def path(variable: str, default: Path) -> Path:
            return _absolute(Path(variables.get(variable) or default))

        root = _absolute(lake) if lake is not None else path(LAKE_VARIABLE, Path("lake"))
        cache = path("PROJECTION_CACHE_DIR", root / "cache")
        home = variables.get(DAGSTER_HOME_VARIABLE)
        rules = variables.get("QUANTLAB_TELEGRAM_RULES")
        key = variables.get("QUANTLAB_PSEUDONYM_KEY")
        mapping = variables.get("QUANTLAB_CLICKHOUSE_MAPPING")
        return cls(
            lake=root,
            manifest=path("ARTIFACT_MANIFEST_DB", root / "manifest" / "manifest.sqlite"),
            artifacts_root=path("ARTIFACTS_ROOT", root / "artifacts"),
            projection_cache=cache,
            experiment_db=path("EXPERIMENT_DB", cache / "experiments.duckdb"),
            telegram_inbox=path("QUANTLAB_TELEGRAM_INBOX", root / "inbox" / "telegram"),
            candles=_candle_source(
                variables.get("QUANTLAB_CANDLES") or str(root / "inbox" / "candles")
            ),
            dagster_home=_absolute(Path(home)) if home else None,
            types_module=variables.get(TYPES_VARIABLE) or None,
            telegram_rules=_absolute(Path(rules)) if rules else None,
            pseudonym_key=_absolute(Path(key)) if key else None,
            timezone=variables.get(TIMEZONE_VARIABLE) or "auto",
            clickhouse_mapping=_absolute(Path(mapping)) if mapping else None,
            projection_budget=variables.get("PROJECTION_CACHE_BUDGET") or "50GB",
            slice_window_min=_whole_numbers(WINDOW_VARIABLE, variables),
            coverage_horizons_h=_whole_numbers(HORIZONS_VARIABLE, variables),
            slice_grades=_shares(GRADES_VARIABLE, variables),
        )

    @property
    def staging(self) -> Path:
        """Where artifacts are written before they are linked into place: on their file system."""
        if self.artifacts_root.is_relative_to(self.lake):
            return self.lake / "staging"
        return self.artifacts_root / ".staging"

    @property
    def trash(self) -> Path:
        """Where files go that the lake no longer refers to, before they are deleted."""
        return self.lake / "trash"

    @property
    def backups(self) -> Path:
        """Where the nightly copies of the manifest go."""
        return self.lake / "backups"

    @property
    def quarantine(self) -> Path:
        """Where damaged artifact files go: nothing deletes them there."""
        return self.lake / "quarantine"

    def parts(self) -> dict[str, Path]:
        """What takes space beside the artifacts, by the name it goes by."""
        named = {
            "manifest": self.manifest,
            "cache": self.projection_cache,
            "staging": self.staging,
            "trash": self.trash,
            "quarantine": self.quarantine,
            "backups": self.backups,
            "telegram inbox": self.telegram_inbox,
        }
        return named | ({"candle inbox": self.candle_inbox} if self.candle_inbox else {})

    @property
    def telegram_spool(self) -> Path:
        """Exports split by day: a cache, keyed by the export's hash."""
        return self.lake / "cache" / "telegram"

    @property
    def candle_index(self) -> Path:
        """What the candle files contain: a cache, keyed by each file's hash."""
        return self.lake / "cache" / "candles"

    @property
    def candle_inbox(self) -> Path | None:
        """The folder of candle files; None if candles come from an address."""
        return self.candles if isinstance(self.candles, Path) else None

    @property
    def candles_shown(self) -> str:
        """Where candles come from, as it may be shown: without user, password and options."""
        candles = self.candles
        return without_secrets(candles) if isinstance(candles, str) else str(candles)

    def folders(self) -> tuple[Path, ...]:
        """Every folder that a lake consists of, parents first."""
        inboxes = [self.telegram_inbox, *([self.candle_inbox] if self.candle_inbox else [])]
        return (
            self.lake,
            self.artifacts_root,
            self.manifest.parent,
            self.projection_cache,
            self.experiment_db.parent,
            self.staging,
            self.trash,
            self.telegram_spool,
            self.candle_index,
            *inboxes,
        )

    def create_folders(self) -> None:
        """Make every folder of the lake that is not there yet.

        Raises `StoreUnavailable` naming the folder that cannot be made or written.
        """
        for folder in self.folders():
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except FileExistsError as error:
                raise StoreUnavailable(
                    f"{folder} is a file, and the lake needs a folder there; move it or choose "
                    "another lake with --lake"
                ) from error
            except OSError as error:
                raise StoreUnavailable(
                    f"cannot create {folder}: {error.strerror}; choose another lake with --lake"
                ) from error
            if not os.access(folder, os.W_OK | os.X_OK):
                raise StoreUnavailable(
                    f"cannot write to {folder}: no permission, or a read-only file system; choose "
                    "another lake with --lake"
                )


def state_folder(environ: Mapping[str, str] | None = None) -> Path:
    """Where this user's own traces go, such as the history of a prompt; it may not be there yet.

    `$XDG_STATE_HOME/quantlab`, else `~/.local/state/quantlab`; a relative variable counts for
    nothing, as its specification says.
    """
    variables = os.environ if environ is None else environ
    home = Path(variables.get("XDG_STATE_HOME") or "~/.local/state").expanduser()
    return (home if home.is_absolute() else Path("~/.local/state").expanduser()) / "quantlab"


def child_environment(settings: Settings, dagster_home: Path | None) -> dict[str, str]:
    """The environment for a child process that works on this lake and Dagster instance."""
    environment = {**os.environ, LAKE_VARIABLE: str(settings.lake)}
    if dagster_home is not None:
        environment[DAGSTER_HOME_VARIABLE] = str(dagster_home)
    return environment


def _absolute(path: Path) -> Path:
    return Path(os.path.normpath(path.expanduser().absolute()))


def _whole_numbers(variable: str, variables: Mapping[str, str]) -> tuple[int, ...]:
    text = variables.get(variable)
    if not text:
        return ()
    try:
        return tuple(int(number) for number in text.split(","))
    except ValueError:
        raise ValidationFailed(
            f"{variable}: {text[:80]!r} is no list of whole numbers such as 260,2880"
        ) from None


def _shares(variable: str, variables: Mapping[str, str]) -> tuple[float, ...]:
    text = variables.get(variable)
    try:
        return tuple(float(number) for number in text.split(",")) if text else ()
    except ValueError:
        raise ValidationFailed(
            f"{variable}: {(text or '')[:80]!r} is no list of shares such as 0.95,0.8"
        ) from None


def _candle_source(value: str) -> Path | str:
    return value if "://" in value else _absolute(Path(value))
