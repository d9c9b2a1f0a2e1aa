"""The data `quantlab demo` runs on, and where it lies.

The README.md beside this says what is reconstructed. Test data belong to the tests.
"""

from pathlib import Path


def sample_path() -> Path:
    """The folder of the sample: `telegram/` and `candles/`."""
    return Path(__file__).parent
