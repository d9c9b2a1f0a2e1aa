"""The data `quantlab demo` runs on. The README.md beside this says what is reconstructed."""

from pathlib import Path


def sample_path() -> Path:
    """The folder of the sample: `telegram/` and `candles/`."""
    return Path(__file__).parent
