"""The Dagster side of the lab: assets, the IO manager, lineage, resources, partitions.

Only wiring belongs here; rules live in `domain` and orchestration in `handlers`. Import the modules
themselves: this package re-exports nothing.
"""
