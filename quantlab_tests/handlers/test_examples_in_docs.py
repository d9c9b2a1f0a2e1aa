"""Every example in the pages on projections and experiments runs as it is written."""

import re
from pathlib import Path
from typing import Any

import pytest

from quantlab_assets import open_lake
from quantlab_tests.handlers.experiments.lab import (
    DUD,
    RUNNER,
    T0,
    Call,
    line,
    publish_alerts,
    publish_candles,
)

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.mark.parametrize("page", ["projections.md", "experiments.md"])
def test_the_examples_of_a_page_run(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lake = open_lake("lake", create=True)
    publish_alerts(lake.store, Call(RUNNER, T0), Call(DUD, T0, message=2))
    publish_candles(lake.store, RUNNER, line(1, 3))
    publish_candles(lake.store, DUD, line(1, 0.1))
    blocks = re.findall(r"```(python|sql)\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    assert {language for language, _ in blocks} == {"python", "sql"}

    names: dict[str, Any] = {}
    for language, text in blocks:
        if language == "python":
            exec(compile(text, page, "exec"), names)
        else:
            lake.sql(text)
