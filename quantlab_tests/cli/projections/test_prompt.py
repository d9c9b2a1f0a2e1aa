"""The prompt of `quantlab projections sql`, at a real terminal."""

import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from quantlab_assets.cli.projections.prompt import KEPT_LINES, Completion, History
from quantlab_assets.settings import state_folder
from quantlab_tests.cli.lake_of_notes import lake_of_notes
from quantlab_tests.conftest import LAKE_VARIABLES, QUANTLAB, ROOT

FIRST, NEXT = "quantlab> ", "     ...> "
PATIENCE_S = 30
STYLE = re.compile(r"\x1b\[[012]?m|\x1b\[\?2004[hl]|\x1b\[\?1034h")
"""What styles, and readline, send to a terminal."""


class Terminal:
    """Somebody at a terminal: types, and reads what is there."""

    def __init__(self, folder: Path, *words: str, columns: int = 200) -> None:
        self._unread = b""
        self._master, slave = pty.openpty()
        variables = {k: v for k, v in os.environ.items() if k not in LAKE_VARIABLES}
        path = os.pathsep.join([str(ROOT), *filter(None, [variables.get("PYTHONPATH")])])
        self.process = subprocess.Popen(
            [sys.executable, "-c", QUANTLAB, "--lake", str(folder / "lake"), *words],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env={
                **variables,
                "PYTHONPATH": path,
                "TERM": "xterm",
                "NO_COLOR": "1",
                "COLUMNS": str(columns),
                "XDG_STATE_HOME": str(folder / "state"),
                "QUANTLAB_TYPES_MODULE": "quantlab_tests.cli.own_types",
            },
            preexec_fn=_take_the_terminal,
        )
        os.close(slave)

    def reads(self, mark: str) -> str:
        """What appears up to the mark, and the mark."""
        end = time.monotonic() + PATIENCE_S
        wanted = mark.replace("\n", "\r\n").encode()
        while wanted not in self._unread:
            ready, _, _ = select.select([self._master], [], [], 0.5)
            if ready:
                try:
                    self._unread += os.read(self._master, 65_536)
                except OSError:
                    break
            assert time.monotonic() < end, f"no {mark!r} in {self._unread!r}"
        seen, found, self._unread = self._unread.partition(wanted)
        assert found, f"no {mark!r} in {seen!r}"
        return STYLE.sub("", (seen + found).decode().replace("\r\n", "\n"))

    def sends(self, text: str) -> None:
        """Type, and read nothing yet."""
        os.write(self._master, text.encode())

    def types(self, text: str, mark: str = FIRST) -> str:
        """What is answered to what is typed."""
        self.sends(text)
        return self.reads(mark)

    def leaves(self, text: str) -> int:
        """The exit code after what is typed; again, since Ctrl-D can come too soon."""
        for _ in range(PATIENCE_S):
            self.sends(text)
            try:
                return self.process.wait(1)
            except subprocess.TimeoutExpired:
                continue
        raise AssertionError(f"still there after {text!r}")

    def close(self) -> None:
        """Hang up."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._master)


def _take_the_terminal() -> None:
    # So that what is typed as Ctrl-C reaches the program.
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prompt")
    lake_of_notes(folder)
    return folder


@pytest.fixture
def terminal(folder: Path) -> Iterator[Terminal]:
    terminal = Terminal(folder, "projections", "sql", "--projection", "lab")
    terminal.reads(FIRST)
    yield terminal
    terminal.close()


def test_a_conversation(terminal: Terminal) -> None:
    assert terminal.types("SELECT count(*) AS n,\n", NEXT)
    answer = terminal.types("';' AS semicolon FROM notes -- ; not yet\n", NEXT)
    answer = terminal.types(";\n")
    assert re.search(r"n +semicolon\n.*\n +5 +;\n", answer)
    assert "1 row in" in answer

    assert "did you mean notes?" in terminal.types("FROM note;\n")
    assert "DELETE is refused" in terminal.types("DELETE FROM notes;\n")
    assert re.search(r"notes +5", terminal.types(".tables\n"))
    assert re.search(r"mark +BLOB", terminal.types(".schema notes\n"))
    assert "did you mean notes?" in terminal.types(".schema nots\n")
    assert ".tables" in terminal.types(".help\n")
    assert "there is no .nothing" in terminal.types(".nothing\n")
    terminal.types(".format csv\n")
    assert '"text"\n"\'=1+1"\n' in terminal.types("SELECT text FROM notes LIMIT 1;\n")
    terminal.types(".limit 2\n")
    assert "the first 2 rows" in terminal.types("SELECT text FROM notes;\n")
    assert "macro" in terminal.types(".macros\n")
    assert "view_name" in terminal.types(".views\n")
    assert terminal.leaves(".exit\n") == 0


def test_ctrl_c_cancels_what_runs_or_is_typed_and_ctrl_d_leaves(terminal: Terminal) -> None:
    terminal.types("SELECT 1,\n", NEXT)
    time.sleep(0.3)  # The prompt stands there a moment before anybody listens.
    terminal.sends("\x03")
    time.sleep(0.3)
    assert "41" in terminal.types("\nSELECT 40 + 1 AS fresh;\n", "1 row in")
    endless = "SELECT sum(a.range * b.range) FROM range(9999999) a, range(999999) b;\n"
    terminal.types(endless, "b;\n")
    time.sleep(0.7)
    began = time.monotonic()
    assert "cancelled" in terminal.types("\x03", "cancelled")
    assert time.monotonic() - began < 10
    assert "42" in terminal.types("SELECT 40 + 2 AS still;\n", "1 row in")
    assert terminal.leaves("\x04") == 0


def test_a_cell_sends_nothing_to_the_terminal(terminal: Terminal) -> None:
    answer = terminal.types("SELECT text FROM notes;\n")
    rows = answer.partition("──")[2].rpartition("rows in")[0]
    assert "[31mred" in rows
    assert not set(rows) & {"\x1b", "\x07", "‮"}


def test_history_outlives_the_prompt_and_is_nobody_elses(folder: Path, terminal: Terminal) -> None:
    terminal.types("SELECT 'remember'\n", NEXT)
    terminal.types("AS me;\n")
    assert terminal.leaves("\x04") == 0
    history = folder / "state" / "quantlab" / "sql_history"
    assert history.stat().st_mode & 0o777 == 0o600
    assert history.read_text().splitlines()[-1] == "SELECT 'remember' AS me;"

    again = Terminal(folder, "projections", "sql", "--projection", "lab")
    try:
        assert str(history) in again.reads(FIRST)
        assert "remember" in again.types("\x1b[A\n")
    finally:
        again.close()


def test_tab_completes_names(terminal: Terminal) -> None:
    answer = terminal.types("SELECT count(*) AS n FROM note\t;\n", "row in")
    assert "FROM notes" in answer
    terminal.reads(FIRST)
    assert re.search(r"mark +BLOB", terminal.types(".sch\t notes\n"))


def test_a_narrow_terminal_shows_a_wide_row_line_by_line(folder: Path) -> None:
    terminal = Terminal(folder, "projections", "sql", "--projection", "lab", columns=40)
    try:
        terminal.reads(FIRST)
        answer = terminal.types("SELECT 'x' AS first, repeat('y', 60) AS second;\n")
        assert "-- row 1\nfirst   x\nsecond  yyy" in answer
    finally:
        terminal.close()


def test_history_is_cut_when_it_has_grown_long(tmp_path: Path) -> None:
    path = tmp_path / "sql_history"
    path.write_text("".join(f"SELECT {number};\n" for number in range(2 * KEPT_LINES + 1)))
    history = History(path)
    history.open(lambda: ())
    history.add("SELECT\n  'last';")
    lines = path.read_text().splitlines()
    assert len(lines) == KEPT_LINES + 1
    assert lines[0] == f"SELECT {KEPT_LINES + 1};"
    assert lines[-1] == "SELECT 'last';"
    assert path.stat().st_mode & 0o777 == 0o600


def test_history_follows_no_link_and_needs_no_folder(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("mine\n")
    (tmp_path / "sql_history").symlink_to(target)
    History(tmp_path / "sql_history").add("SELECT 1;")
    assert target.read_text() == "mine\n"
    (tmp_path / "file").write_text("")
    History(tmp_path / "file" / "sql_history").add("SELECT 1;")


def test_comments_in_history_end_where_they_ended(tmp_path: Path) -> None:
    History(tmp_path / "sql_history").add("SELECT 1 -- one\n+ 1;\x1b[31m")
    assert (tmp_path / "sql_history").read_text() == "SELECT 1 -- one\n+ 1; [31m\n"


def test_traces_of_a_user_go_where_the_system_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/nobody")
    assert state_folder({}) == Path("/nobody/.local/state/quantlab")
    assert state_folder({"XDG_STATE_HOME": "/state"}) == Path("/state/quantlab")
    assert state_folder({"XDG_STATE_HOME": "state"}) == Path("/nobody/.local/state/quantlab")


def test_completion_keeps_to_the_case_of_what_is_typed() -> None:
    completion = Completion(lambda: ("alerts", "alert_id", "SELECT"))
    assert [completion.complete("ale", i) for i in range(3)] == ["alerts", "alert_id", None]
    assert completion.complete("sel", 0) == "select"
    assert completion.complete("SEL", 0) == "SELECT"
    assert completion.complete("a.alert_", 0) == "a.alert_id"
    assert completion.complete(".ta", 0) == ".tables"
    assert completion.complete("zzz", 0) is None
