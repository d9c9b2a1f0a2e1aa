"""Where the lake and its parts are."""

from pathlib import Path

import pytest

from quantlab_assets.domain.errors import StoreUnavailable, ValidationFailed
from quantlab_assets.settings import Settings


def test_without_a_word_the_lake_is_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings.from_environment(environ={})
    lake = tmp_path / "lake"
    assert settings == Settings(
        lake=lake,
        manifest=lake / "manifest" / "manifest.sqlite",
        artifacts_root=lake / "artifacts",
        projection_cache=lake / "cache",
        experiment_db=lake / "cache" / "experiments.duckdb",
        telegram_inbox=lake / "inbox" / "telegram",
        candles=lake / "inbox" / "candles",
    )
    assert settings.staging == lake / "staging"
    assert settings.trash == lake / "trash"


def test_each_variable_moves_its_part(tmp_path: Path) -> None:
    settings = Settings.from_environment(
        environ={
            "QUANTLAB_LAKE": "/lake",
            "ARTIFACT_MANIFEST_DB": "/m.sqlite",
            "ARTIFACTS_ROOT": "/a",
            "PROJECTION_CACHE_DIR": "/c",
            "QUANTLAB_TELEGRAM_INBOX": "/t",
            "QUANTLAB_CANDLES": "/k",
            "DAGSTER_HOME": "/d",
            "PROJECTION_CACHE_BUDGET": "2GB",
            "QUANTLAB_SLICE_WINDOW": "60,4320",
            "QUANTLAB_HORIZONS": "-1, 72",
            "QUANTLAB_SLICE_GRADES": "0.99, 0.9",
        }
    )
    assert settings == Settings(
        lake=Path("/lake"),
        manifest=Path("/m.sqlite"),
        artifacts_root=Path("/a"),
        projection_cache=Path("/c"),
        experiment_db=Path("/c/experiments.duckdb"),
        telegram_inbox=Path("/t"),
        candles=Path("/k"),
        dagster_home=Path("/d"),
        projection_budget="2GB",
        slice_window_min=(60, 4320),
        coverage_horizons_h=(-1, 72),
        slice_grades=(0.99, 0.9),
    )
    assert Settings.from_environment(environ={"EXPERIMENT_DB": "/e.duckdb"}).experiment_db == Path(
        "/e.duckdb"
    )


def test_staging_stays_on_the_file_system_of_the_artifacts() -> None:
    settings = Settings.from_environment(Path("/lake"), environ={"ARTIFACTS_ROOT": "/elsewhere"})
    assert settings.staging.is_relative_to("/elsewhere")


def test_a_lake_that_is_named_wins_over_the_variable() -> None:
    settings = Settings.from_environment(Path("/named"), environ={"QUANTLAB_LAKE": "/variable"})
    assert settings.lake == Path("/named")


def test_numbers_must_be_numbers() -> None:
    with pytest.raises(ValidationFailed, match="QUANTLAB_SLICE_GRADES: 'most' is no list of"):
        Settings.from_environment(environ={"QUANTLAB_SLICE_GRADES": "most"})
    with pytest.raises(ValidationFailed, match="QUANTLAB_HORIZONS: 'soon' is no list of whole"):
        Settings.from_environment(environ={"QUANTLAB_HORIZONS": "soon"})


def test_an_empty_variable_is_not_set(tmp_path: Path) -> None:
    settings = Settings.from_environment(tmp_path, environ={"ARTIFACTS_ROOT": ""})
    assert settings.artifacts_root == tmp_path / "artifacts"


@pytest.mark.parametrize(
    "dsn", ["clickhouse://host:8123/db", "clickhouses://u@host/db", "chdb:///path"]
)
def test_candles_may_come_from_a_clickhouse(dsn: str) -> None:
    settings = Settings.from_environment(environ={"QUANTLAB_CANDLES": dsn})
    assert settings.candles == dsn
    assert settings.candle_inbox is None


def test_the_folders_are_made_and_may_be_there_already(tmp_path: Path) -> None:
    settings = Settings.from_environment(tmp_path / "lake", environ={})
    settings.create_folders()
    settings.create_folders()
    assert all(folder.is_dir() for folder in settings.folders())


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "lake").write_text("not a lake")
    with pytest.raises(StoreUnavailable, match="lake is a file"):
        Settings.from_environment(tmp_path / "lake", environ={}).create_folders()


def test_a_lake_below_a_device_cannot_be() -> None:
    with pytest.raises(StoreUnavailable, match="cannot create /dev/null/x"):
        Settings.from_environment(Path("/dev/null/x"), environ={}).create_folders()
