"""`quantlab projections build|list|rebuild|dispose`: files that come and go, and lose nothing."""

from pathlib import Path

import pytest

from quantlab_tests.cli.in_front import Done, Shell

GM = "2025-05-01T12:00:00Z,gm,0.5,1,true,"
WEN = "2025-05-02T12:00:00Z,wen,,,false,"


def build(shell: Shell, *words: str) -> Done:
    done = shell("projections", "build", *words, "--format", "json")
    assert done.code == 0, done.err
    return done


def listed(shell: Shell) -> dict[str, dict[str, object]]:
    done = shell("projections", "list", "--format", "json")
    assert done.code == 0, done.err
    return {one["projectionId"]: one for one in done.json}


def ask(shell: Shell, name: str, query: str) -> list[dict[str, object]]:
    done = shell("projections", "sql", "--projection", name, query, "--format", "json")
    assert done.code == 0, done.err
    found: list[dict[str, object]] = done.json
    return found


def test_without_options_it_is_the_research_projection(shell: Shell) -> None:
    built = build(shell).json
    assert built["projectionId"] == "research"
    assert {"alerts", "experiment_trades"} <= {one["table"] for one in built["tables"]}
    assert Path(built["path"]).is_file()
    assert "tables are empty" in build(shell, "--type", "notes").err


def test_a_summary_says_what_there_is_and_what_it_cost(shell: Shell) -> None:
    shell.publish(1, GM)
    shell.publish(2, WEN)
    built = build(shell, "--table", "mine=notes", "--name", "diary").json
    assert built["tables"] == [
        {"table": "mine", "artifactType": "notes", "artifacts": 2, "rows": 2},
    ]
    assert (built["projectionId"], built["rows"], built["stale"]) == ("diary", 2, False)
    assert built["size"] == Path(built["path"]).stat().st_size
    assert 0 <= built["seconds"] < 60
    text = shell("projections", "build", "--table", "mine=notes", "--name", "diary")
    assert text.code == 0
    assert "diary" in text.out
    assert "mine" in text.out
    assert "nothing was built" in text.err


@pytest.mark.parametrize(
    ("words", "texts"),
    [
        (["--type", "notes"], ["gm", "wen", "other"]),
        (["--type", "notes", "--tag", "by=me"], ["wen"]),
        (["--type", "notes", "--from", "2025-05-02"], ["wen", "other"]),
        (["--type", "notes", "--to", "2025-05-01"], ["gm"]),
        (["--type", "notes", "--from", "2025-05-02", "--to", "2025-05-02"], ["wen"]),
        (["--type", "notes", "--key-prefix", "book=other/"], ["other"]),
        (["--type", "notes", "--tag", "by=nobody"], []),
    ],
    ids=lambda value: " ".join(map(str, value)),
)
def test_artifacts_are_chosen_by_day_tag_and_key(
    shell: Shell, words: list[str], texts: list[str]
) -> None:
    shell.publish(1, GM)
    shell.publish(2, WEN, more=("--tag", "by=me"))
    shell.publish(3, "2025-05-03T12:00:00Z,other,,,,", book="other")
    build(shell, *words, "--name", "some")
    assert [row["text"] for row in ask(shell, "some", "FROM notes ORDER BY ALL")] == texts


def test_artifacts_are_named_by_id(shell: Shell) -> None:
    first = shell.publish(1, GM)
    shell.publish(2, WEN)
    built = build(shell, "--id", first[:8]).json
    assert built["projectionId"].startswith("p_")
    assert ask(shell, built["projectionId"], "SELECT text FROM notes") == [{"text": "gm"}]
    again = build(shell, "--id", first, "--table", "notes=notes")
    assert again.json["projectionId"] == built["projectionId"]
    assert "nothing was built" in again.err


def test_tables_and_their_indexes_are_made_as_named(shell: Shell) -> None:
    shell.publish(1, GM)
    index = ("--index", "a(text, at)", "--index", "a(count)")
    build(shell, "--table", "a=notes", "--table", "b=alerts_v1", *index, "--name", "two")
    columns = ask(
        shell, "two", "SELECT table_name, expressions AS e FROM duckdb_indexes() ORDER BY 2"
    )
    assert [row["table_name"] for row in columns] == ["a", "a"]
    assert ask(shell, "two", "SELECT count(*) AS calls FROM b") == [{"calls": 0}]


def test_results_of_experiments_say_of_which(shell: Shell) -> None:
    build(shell, "--type", "experiment_trades", "--name", "results")
    (first, *_) = ask(shell, "results", "DESCRIBE experiment_trades")
    assert first["column_name"] == "experiment_id"


@pytest.mark.parametrize(
    "words",
    [
        ["--name", "mine"],
        ["--index", "a(b)"],
        ["--id", "4f1c09aa", "--from", "2025-05-01"],
        ["--id", "4f1c09aa", "--tag", "a=b"],
        ["--table", "notes"],
        ["--table", "=notes"],
        ["--table", "mine="],
        ["--type", "notes", "--index", "mine"],
        ["--type", "notes", "--index", "mine()"],
        ["--type", "notes", "--index", "mine(a,)"],
        ["--type", "notes", "--index", "(a)"],
    ],
    ids=" ".join,
)
def test_what_makes_no_sense_is_wrong_usage(shell: Shell, words: list[str]) -> None:
    done = shell("projections", "build", *words)
    assert (done.code, done.out) == (2, "")
    assert listed(shell) == {}


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--type", "no_such"], 3, "no_such"),
        (["--id", "0" * 32], 3, "0" * 32),
        (["--id", "{first}", "--type", "alerts_v1"], 1, "--type notes"),
        (["--type", "notes", "--index", "other(at)"], 1, "no table 'other'"),
        (["--type", "notes", "--index", "notes(nothing)"], 1, "nothing"),
        (["--table", "a=notes", "--table", "a=alerts_v1"], 1, "twice"),
        (["--type", "notes", "--from", "2025-05-02", "--to", "2025-05-01"], 1, "before"),
        (["--type", "notes", "--name", "Mine"], 1, "lower-case"),
        (["--type", "notes", "--name", "../mine"], 1, "lower-case"),
        (["--table", "a b=notes"], 1, "lower-case"),
        (["--type", "notes", "--name", "research"], 1, "choose another name"),
        (["--type", "notes", "--name", "experiments"], 1, "taken"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_built_says_why_in_one_line(
    shell: Shell, words: list[str], code: int, says: str
) -> None:
    first = shell.publish(1, GM)
    done = shell("projections", "build", *(word.format(first=first) for word in words))
    assert (done.code, done.out) == (code, "")
    assert says in done.err
    assert len(done.err.splitlines()) == 1
    assert listed(shell) == {}


def test_a_list_says_how_large_how_old_and_whether_stale(shell: Shell) -> None:
    first = shell.publish(1, GM)
    build(shell, "--id", first, "--name", "fixed")
    fresh = listed(shell)["fixed"]
    assert fresh["size"] == Path(str(fresh["path"])).stat().st_size
    assert (fresh["tables"], fresh["artifacts"], fresh["rows"]) == (1, 1, 1)
    assert fresh["stale"] is False
    assert str(fresh["lastUsedAt"]) >= str(fresh["builtAt"])

    shell.publish(1, WEN.replace("05-02", "05-01"))
    assert listed(shell)["fixed"]["stale"] is True
    table = shell("projections", "list")
    assert "fixed" in table.out
    assert "yes" in table.out


def test_an_empty_list_says_what_to_do(shell: Shell) -> None:
    done = shell("projections", "list")
    assert (done.code, done.out) == (0, "")
    assert "quantlab projections build" in done.err
    assert shell("projections", "list", "--format", "json").json == []


def test_a_rebuild_takes_what_matches_now(shell: Shell) -> None:
    shell.publish(1, GM)
    build(shell, "--type", "notes", "--name", "diary")
    shell.publish(2, WEN)
    done = shell("projections", "rebuild", "diary", "--format", "json")
    assert done.code == 0, done.err
    assert [one["rows"] for one in done.json] == [2]
    assert [row["text"] for row in ask(shell, "diary", "FROM notes")] == ["gm", "wen"]


def test_a_rebuild_needs_no_file(shell: Shell) -> None:
    shell.publish(1, GM)
    path = Path(build(shell, "--type", "notes", "--name", "diary").json["path"])
    build(shell)
    path.unlink()
    assert shell("projections", "rebuild", "diary").code == 0
    assert path.is_file()
    every = shell("projections", "rebuild", "--all", "--format", "json")
    assert [one["projectionId"] for one in every.json] == ["diary", "research"]


def test_one_that_cannot_be_rebuilt_keeps_no_other_from_it(shell: Shell) -> None:
    made = shell.publish(1, GM)
    build(shell, "--type", "notes", "--name", "bad")
    build(shell, "--type", "alerts_v1", "--name", "good")
    (path,) = shell.lake.glob(f"artifacts/notes/**/{made}.parquet")
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    done = shell("projections", "rebuild", "--all", "--format", "json")
    assert done.code == 4
    assert made in done.err
    assert [one["projectionId"] for one in done.json] == ["good"]
    assert [row["text"] for row in ask(shell, "bad", "FROM notes")] == ["gm"]


def test_what_is_disposed_of_says_what_it_freed(shell: Shell) -> None:
    sizes = {}
    for name in ("one", "two", "three"):
        sizes[name] = build(shell, "--type", "notes", "--name", name).json["size"]
    done = shell("projections", "dispose", "one", "two", "one", "--format", "json")
    assert done.json == [
        {"projectionId": "one", "freed": sizes["one"]},
        {"projectionId": "two", "freed": sizes["two"]},
    ]
    assert "2 projections" in done.err
    assert set(listed(shell)) == {"three"}
    assert shell("projections", "dispose", "--all").code == 0
    assert listed(shell) == {}
    assert shell("projections", "dispose", "--all").code == 0


def test_what_is_not_there_is_named(shell: Shell) -> None:
    build(shell, "--type", "notes", "--name", "one")
    done = shell("projections", "dispose", "one", "nothing")
    assert done.code == 3
    assert "nothing" in done.err
    assert listed(shell) == {}
    assert shell("projections", "rebuild", "nothing").code == 3
    assert shell("projections", "sql", "--projection", "nothing", "SELECT 1").code == 3


@pytest.mark.parametrize("command", ["rebuild", "dispose"])
def test_some_or_all_must_be_said(shell: Shell, command: str) -> None:
    assert shell("projections", command).code == 2
    assert shell("projections", command, "one", "--all").code == 2


@pytest.mark.parametrize("form", ["table", "json", "jsonl", "csv"])
def test_every_command_prints_in_every_form(shell: Shell, form: str) -> None:
    shell.publish(1, GM)
    for words in (
        ["build", "--type", "notes", "--name", "one"],
        ["list"],
        ["rebuild", "one"],
        ["sql", "--projection", "one", "FROM notes"],
        ["dispose", "one"],
    ):
        done = shell("projections", *words, "--format", form)
        assert done.code == 0, done.err
        assert done.out
        if form == "json":
            assert done.json
        if form == "jsonl":
            assert done.lines
