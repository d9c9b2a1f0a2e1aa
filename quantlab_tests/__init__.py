"""Tests; the folders mirror `quantlab_assets`."""
