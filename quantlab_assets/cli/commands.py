"""The tree of commands as one table: what each is called, where it is, and how groups introduce it.

A new command is a module, a line here, and its example in docs/commands.md. No command is imported
before it is used: `LazyGroup` reads this table.
"""

from typing import Final

from quantlab_assets.cli.shell.command import CommandGroup

_CLI: Final = "quantlab_assets.cli"

ALERTS: Final = CommandGroup(
    help="Who called which token, and when its address became known.",
    examples="""
    quantlab alerts list --from 2025-11-07 --caller caller_05
    """,
    commands={"list": f"{_CLI}.alerts:list_alerts"},
)

ARTIFACTS: Final = CommandGroup(
    help="""Find, read, publish and look after the immutable data of the lake.

    Wherever an ID is asked for, its first 8 digits or more will do.
    """,
    examples="""
    quantlab artifacts list --type alerts_v1 --status active --limit 10
    quantlab artifacts lineage 4f1c09aa
    """,
    commands={
        "list": f"{_CLI}.artifacts.find:list_artifacts",
        "get": f"{_CLI}.artifacts.find:get",
        "find": f"{_CLI}.artifacts.find:find",
        "types": f"{_CLI}.artifacts.find:types",
        "lineage": f"{_CLI}.artifacts.lineage:lineage",
        "downstream": f"{_CLI}.artifacts.lineage:downstream",
        "cat": f"{_CLI}.artifacts.cat:cat",
        "publish": f"{_CLI}.artifacts.publish:publish",
        "supersede": f"{_CLI}.artifacts.change:supersede",
        "tombstone": f"{_CLI}.artifacts.change:tombstone",
        "verify": f"{_CLI}.artifacts.verify:verify",
        "gc": f"{_CLI}.artifacts.gc:gc",
        "export": f"{_CLI}.artifacts.bundle:export",
        "import": f"{_CLI}.artifacts.bundle:import_",
        "rebuild-manifest": f"{_CLI}.artifacts.rebuild:rebuild_manifest",
    },
)

COVERAGE: Final = CommandGroup(
    help="How much of the time around each call the slices cover, and why not all of it.",
    examples="""
    quantlab coverage build
    quantlab coverage show --html coverage.html
    """,
    commands={
        "build": f"{_CLI}.coverage.build:build",
        "show": f"{_CLI}.coverage.show:show",
    },
)

EXPERIMENTS: Final = CommandGroup(
    help="""Freeze a question, run it, and show later that the answer still holds.

    Wherever an ID is asked for, its first 8 digits or more will do, or the experiment's name.
    """,
    examples="""
    quantlab experiments create --name first --strategy runner.json --from 2025-11-01
    quantlab experiments execute exp-4f1c09aa
    quantlab experiments reproduce exp-4f1c09aa
    """,
    commands={
        "create": f"{_CLI}.experiments.create:create",
        "execute": f"{_CLI}.experiments.run:execute",
        "list": f"{_CLI}.experiments.find:list_experiments",
        "get": f"{_CLI}.experiments.find:get",
        "find-by-inputs": f"{_CLI}.experiments.find:find_by_inputs",
        "cancel": f"{_CLI}.experiments.run:cancel",
        "rerun": f"{_CLI}.experiments.run:rerun",
        "reproduce": f"{_CLI}.experiments.judge:reproduce",
        "check-lookahead": f"{_CLI}.experiments.judge:check_lookahead",
        "project": f"{_CLI}.experiments.find:project",
    },
)

INGEST: Final = CommandGroup(
    help="Bring raw files into the lake, and make from them what the graph makes.",
    examples="""
    quantlab ingest telegram ~/Downloads/ChatExport_2025-11-09
    quantlab ingest candles ~/Downloads/candles
    """,
    commands={
        "telegram": f"{_CLI}.ingest.telegram:telegram",
        "candles": f"{_CLI}.ingest.candles:candles",
    },
)

PROJECTIONS: Final = CommandGroup(
    help="""DuckDB files built from artifacts, to query and to throw away.

    Whatever is deleted here can be built again: nothing is lost.
    """,
    examples="""
    quantlab projections sql "SELECT caller_name, count(*) FROM alerts GROUP BY ALL"
    quantlab projections build --table calls=alerts_v1 --from 2025-11-07 --name november
    quantlab projections list
    """,
    commands={
        "build": f"{_CLI}.projections.build:build",
        "rebuild": f"{_CLI}.projections.keep:rebuild",
        "list": f"{_CLI}.projections.keep:list_projections",
        "dispose": f"{_CLI}.projections.keep:dispose",
        "sql": f"{_CLI}.projections.sql:sql",
    },
)

QUARANTINE: Final = CommandGroup(
    help="Messages that look like calls and cannot be trusted, and records that are no messages.",
    examples="""
    quantlab quarantine list
    quantlab quarantine retry --code pair_address_unresolved
    """,
    commands={
        "list": f"{_CLI}.ingest.quarantine:list_quarantined",
        "show": f"{_CLI}.ingest.quarantine:show_quarantined",
        "retry": f"{_CLI}.ingest.quarantine:retry_quarantined",
    },
)

SLICES: Final = CommandGroup(
    help="Candles around the calls: what the source has for them, and what the lake holds.",
    examples="""
    quantlab slices plan --from 2025-11-06 --to 2025-11-08
    quantlab slices export
    quantlab slices list --grade poor
    """,
    commands={
        "plan": f"{_CLI}.slices.plan:plan",
        "export": f"{_CLI}.slices.export:export",
        "list": f"{_CLI}.slices.listing:list_slices",
        "export-dataset": f"{_CLI}.slices.dataset:export_dataset",
    },
)

STRATEGIES: Final = CommandGroup(
    help="Keep trading rules under names, to use them in experiments.",
    examples="""
    quantlab strategies add runner strategy.json
    quantlab strategies show runner --format json > strategy.json
    """,
    commands={
        "add": f"{_CLI}.experiments.strategies:add",
        "list": f"{_CLI}.experiments.strategies:list_strategies",
        "show": f"{_CLI}.experiments.strategies:show",
    },
)

QUANTLAB: Final = CommandGroup(
    help="""A research lab for crypto token calls: from Telegram exports and candles to reproducible
    experiments.""",
    examples="""
    quantlab demo
    quantlab --lake quantlab-demo status --format json
    """,
    commands={
        "demo": f"{_CLI}.demo.run:demo",
        "init": f"{_CLI}.init:init",
        "status": f"{_CLI}.upkeep.status:status",
        "ingest": INGEST,
        "alerts": ALERTS,
        "quarantine": QUARANTINE,
        "ui": f"{_CLI}.graph.ui:ui",
        "artifacts": ARTIFACTS,
        "slices": SLICES,
        "coverage": COVERAGE,
        "projections": PROJECTIONS,
        "backup": f"{_CLI}.upkeep.backup:backup",
        "restore": f"{_CLI}.upkeep.backup:restore",
        "du": f"{_CLI}.upkeep.doctor:du",
        "doctor": f"{_CLI}.upkeep.doctor:doctor",
        "ops": f"{_CLI}.ops:ops",
        "strategies": STRATEGIES,
        "experiments": EXPERIMENTS,
        "completion": f"{_CLI}.completion:completion",
    },
)
"""All commands, in the order in which a newcomer meets them."""
