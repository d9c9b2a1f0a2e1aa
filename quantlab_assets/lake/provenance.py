"""Who writes when something is published from this process: the code and its environment."""

from quantlab_assets.domain.artifacts.records import Provenance
from quantlab_assets.version import __version__


def provenance_of(
    writer: str, version: str = __version__, *, run_id: str | None = None, step: str | None = None
) -> Provenance:
    """What is recorded of a writer; `run_id` and `step` if it works for the graph."""
    from quantlab_assets.adapters.code_provenance import code_state, environment

    code = code_state()
    return Provenance(
        writer_name=writer,
        writer_version=version,
        run_id=run_id,
        step=step,
        git_commit=code.git_commit,
        git_dirty=code.git_dirty,
        git_diff_hash=code.git_diff_hash,
        environment=environment(),
    )
