"""Candles from a folder of CSV and Parquet files, recognised by what is in them."""

from quantlab_assets.adapters.candle_folder.source import CandleFolder, FileCheck

__all__ = ["CandleFolder", "FileCheck"]
