"""What the tests of the commands share: a shell in front of a new lake."""

from pathlib import Path

import pytest

from quantlab_tests.cli.in_front import Shell


@pytest.fixture
def shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Shell:
    """The command, in front of an empty lake that knows the type `notes`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QUANTLAB_TYPES_MODULE", "quantlab_tests.cli.own_types")
    shell = Shell(tmp_path / "lake", capsys.readouterr, monkeypatch)
    assert shell("init").code == 0
    return shell
