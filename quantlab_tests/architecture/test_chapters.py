"""A folder is a chapter: its file names read as one, its docstring says what belongs into it."""

import ast
import subprocess

from quantlab_tests.architecture.sources import (
    PACKAGE,
    ROOT,
    imported_names,
    modules,
    name_of,
    tree_of,
)

MOST_MODULES = 12

THE_CHAPTERS_OWN_NOUN = {
    "quantlab_assets/domain/telegram/clock/clock.py",
    "quantlab_assets/domain/tokens/token.py",
    "quantlab_assets/lake/lake.py",
}
"""Modules that hold the very thing their folder is about."""


def test_no_folder_holds_more_modules_than_one_reads_at_a_glance() -> None:
    folders = {path.parent for path in modules()}
    counts = {
        name_of(folder): sum(path.stem != "__init__" for path in folder.glob("*.py"))
        for folder in folders
    }
    assert {folder: count for folder, count in counts.items() if count > MOST_MODULES} == {}


def test_no_module_repeats_the_name_of_its_folder() -> None:
    repeating = {
        name_of(path)
        for path in modules()
        if path.parent != PACKAGE and path.stem.startswith(path.parent.name.removesuffix("s"))
    }
    assert repeating == THE_CHAPTERS_OWN_NOUN


def test_every_chapter_says_what_belongs_into_it_and_what_does_not() -> None:
    # The first paragraph says the one; a chapter that stops there leaves the other open.
    silent = [
        name_of(path)
        for path in modules()
        if path.name == "__init__.py"
        if "\n\n" not in (ast.get_docstring(tree_of(path)) or "")
    ]
    assert silent == []


def test_what_commands_share_and_their_table_know_no_command() -> None:
    cli = PACKAGE / "cli"
    takes = {
        name_of(path): sorted(
            name
            for name in imported_names(path)
            if name.startswith("quantlab_assets.cli.")
            if not name.startswith("quantlab_assets.cli.shell.")
        )
        for path in [cli / "commands.py", *modules(cli / "shell")]
    }
    assert {path: names for path, names in takes.items() if names} == {}


def test_git_ignores_no_file_of_the_package_or_its_tests() -> None:
    # `lake/` in .gitignore once hid quantlab_assets/lake/__init__.py: it was there on one machine.
    files = [name_of(path) for path in [*modules(), *modules(ROOT / "quantlab_tests")]]
    ignored = subprocess.run(
        ["git", "check-ignore", "--no-index", "--stdin"],
        cwd=ROOT,
        input="\n".join(files),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ignored.stdout.split() == []
