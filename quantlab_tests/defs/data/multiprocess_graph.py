"""The toy graph with each step in a process of its own, over the lake the environment names."""

import os
from pathlib import Path

import dagster as dg

from quantlab_tests.defs.data.toy_graph import TEXTS, Toy

defs = Toy(Path(os.environ["QUANTLAB_LAKE"]), dict(TEXTS)).defs(dg.multiprocess_executor)
