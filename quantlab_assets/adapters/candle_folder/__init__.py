"""Candles from a folder of CSV and Parquet files, recognised by what is in them.

Here files become raw rows. What makes a raw row a valid candle is `domain.candles`.
"""

from quantlab_assets.adapters.candle_folder.source import CandleFolder, FileCheck

__all__ = ["CandleFolder", "FileCheck"]
