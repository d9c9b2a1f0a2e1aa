"""CSV files are read by declared types: nothing is guessed, and what is wrong is located."""

from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from quantlab_assets.adapters.artifact_store.csv_table import read_csv
from quantlab_assets.domain.artifacts.type import ArtifactType
from quantlab_assets.domain.errors import NotFound, ValidationFailed

ROWS = ArtifactType(
    name="rows",
    schema_version=1,
    schema=pa.schema(
        [
            pa.field("id", pa.int64(), nullable=False),
            pa.field("at", pa.timestamp("us", tz="UTC")),
            pa.field("price", pa.float64()),
            pa.field("ok", pa.bool_()),
            pa.field("day", pa.date32()),
            pa.field("text", pa.string()),
        ]
    ),
    sort_keys=("id",),
    keys=("day={day}",),
)
HEADER = "id,at,price,ok,day,text\n"


def read(tmp_path: Path, text: str | bytes) -> pa.Table:
    path = tmp_path / "rows.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_csv(path, ROWS)


def test_every_type_is_read_as_declared(tmp_path: Path) -> None:
    table = read(
        tmp_path,
        "text,day,ok,price,at,id\n"
        '"a, ""b""\nc",2025-05-01,true,-1.5e3,2025-05-01T12:00:00.000001Z,9007199254740993\n'
        "NA,,false,nan,2025-05-01 12:00:00+00:00,+7\n"
        '"",2025-12-31,,,1746100800000001,-1\n',
    )

    assert table.schema == ROWS.schema
    rows = table.to_pylist()
    assert rows[0] == {
        "id": 9007199254740993,
        "at": datetime(2025, 5, 1, 12, 0, 0, 1, UTC),
        "price": -1500.0,
        "ok": True,
        "day": date(2025, 5, 1),
        "text": 'a, "b"\nc',
    }
    assert (rows[1]["text"], rows[1]["day"], rows[1]["id"]) == ("NA", None, 7)
    assert rows[1]["price"] != rows[1]["price"]
    assert (rows[2]["text"], rows[2]["ok"], rows[2]["price"]) == ("", None, None)
    assert rows[2]["at"] == rows[0]["at"]


def test_no_rows_are_a_table_too(tmp_path: Path) -> None:
    assert read(tmp_path, HEADER).num_rows == 0


@pytest.mark.parametrize(
    ("row", "column", "what"),
    [
        (",,,,,", "id", "may not be"),
        ("NA,,,,,", "id", "not an integer"),
        ("1.0,,,,,", "id", "not an integer"),
        ("9223372036854775808,,,,,", "id", "not an integer that fits"),
        ("1,2025-05-01T12:00:00,,,,", "at", "not a UTC time"),
        ("1,2025-05-01T12:00:00+02:00,,,,", "at", "not a UTC time"),
        ("1,2025-02-30T12:00:00Z,,,,", "at", "not a UTC time"),
        ("1,,0x10,,,", "price", "not a decimal number"),
        ("1,,null,,,", "price", "not a decimal number"),
        ('1,,"1,5",,,', "price", "not a decimal number"),
        ("1,,,1,,", "ok", "not true or false"),
        ("1,,,TRUE,,", "ok", "not true or false"),
        ("1,,,,01/05/2025,", "day", "not a date"),
        ("1,,,,2025-13-01,", "day", "not a date"),
    ],
)
def test_what_does_not_fit_is_located(tmp_path: Path, row: str, column: str, what: str) -> None:
    good = '1,,,,,"two\nlines"\n'

    with pytest.raises(ValidationFailed, match=f"line 4, column {column}: .*{what}"):
        read(tmp_path, f"{HEADER}{good}{row}\n")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "id,at\n1,\n",
        "id,at,price,ok,day,text,more\n1,,,,,,\n",
        "id,id,at,price,ok,day,text\n1,1,,,,,\n",
        f"{HEADER}1,,\n",
        f"{HEADER}1,,,,,a\n\n2,,,,,b\n",
        HEADER.encode() + b"1,,,,,\xff\n",
        b"PAR1\x00\x00",
    ],
)
def test_what_is_no_table_of_the_type_is_refused(tmp_path: Path, text: str | bytes) -> None:
    with pytest.raises(ValidationFailed, match=r"rows\.csv"):
        read(tmp_path, text)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no file"):
        read_csv(tmp_path / "absent.csv", ROWS)
