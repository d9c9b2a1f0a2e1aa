"""`experiments.duckdb`: the ledger of experiments as DuckDB tables, for SQL.

A projection like all others: built into a temporary file that then takes its name, opened for
reading only, worth nothing by itself. It is built anew whenever the ledger has changed since.

Tables: `experiments`, `experiment_inputs` (one row for each frozen artifact of an experiment),
`experiment_outputs`, `experiment_events`. Times are UTC.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from quantlab_assets.adapters.file_lock import exclusive
from quantlab_assets.adapters.manifest.engine import ManifestDatabase
from quantlab_assets.adapters.manifest.ledger.as_tables import ledger_state, ledger_tables
from quantlab_assets.domain.errors import StoreUnavailable


def project_ledger(database: ManifestDatabase, path: Path) -> Path:
    """Build the projection at `path`, unless the one there is of the ledger as it is now.

    Raises `StoreUnavailable` if it cannot be written.
    """
    mark = path.with_suffix(".json")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with exclusive(path.with_suffix(".lock")):
            with database.reading() as transaction:
                state = ledger_state(transaction)
                if path.is_file() and _marked(mark) == state:
                    return path
                tables = ledger_tables(transaction)
            mark.unlink(missing_ok=True)
            _write(tables, path)
            mark.write_text(json.dumps(state), encoding="utf-8")
    except (OSError, duckdb.Error) as error:
        raise StoreUnavailable(f"cannot build {path}: {str(error).splitlines()[0]}") from error
    return path


def _marked(mark: Path) -> Any:
    try:
        return json.loads(mark.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _write(tables: dict[str, pa.Table], path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".building-") as folder:
        staged = Path(folder) / path.name
        connection = duckdb.connect(str(staged))
        try:
            connection.execute("SET TimeZone = 'UTC'")
            for name, table in tables.items():
                connection.register("ledger_rows", table)
                connection.execute(f'CREATE TABLE "{name}" AS SELECT * FROM ledger_rows')  # noqa: S608
                connection.unregister("ledger_rows")
            # A view: inputs are shared by many experiments, and would be most of the file.
            connection.execute(
                "CREATE VIEW experiment_inputs AS SELECT experiment_id, artifact_id"
                " FROM experiments JOIN input_sets USING (input_set_id)"
            )
        finally:
            connection.close()
        staged.chmod(0o444)
        staged.replace(path)
