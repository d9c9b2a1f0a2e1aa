"""Small exports of made-up people, each of one kind of trouble, from the shell to the right values.

Beside each `exports/<kind>.json` stands `<kind>.txt`: a line for each alert (message, token, known
time, how it is known, caller, network) and for each message in quarantine (message, code). All
other messages of the export are no calls.
"""

import json
from pathlib import Path

import pytest

from quantlab_assets import open_lake
from quantlab_assets.cli.main import main

EXPORTS = Path(__file__).with_name("exports")
KINDS = sorted(path.stem for path in EXPORTS.glob("*.json"))


def test_there_is_an_export_of_each_kind_with_its_values() -> None:
    assert len(KINDS) >= 7
    assert all((EXPORTS / f"{kind}.txt").read_text() for kind in KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_an_export_comes_to_its_right_values(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lake = str(tmp_path / "lake")
    assert main(["ingest", "telegram", str(EXPORTS / f"{kind}.json"), "--lake", lake]) == 0
    alerts = open_lake(lake).sql(
        "SELECT alert_message_id, mint, strftime(known_ts_utc, '%H:%M:%S'), known_basis,"
        " caller_key, token_chain FROM alerts ORDER BY ALL"
    )
    capsys.readouterr()
    assert main(["quarantine", "list", "--rows", "--format", "json", "--lake", lake]) == 0
    refused = json.loads(capsys.readouterr().out)
    assert [
        *(" ".join(map(str, row)) for row in alerts.iter_rows()),
        *(f"{row['id'].partition(':')[2]} quarantined {row['errorCode']}" for row in refused),
    ] == (EXPORTS / f"{kind}.txt").read_text().splitlines()
