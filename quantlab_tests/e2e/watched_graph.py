"""The graph with its inbox sensors switched on and looking every second."""

from quantlab_assets.definitions import build_defs
from quantlab_assets.defs.sensors import inbox_sensors

defs = build_defs(sensors=inbox_sensors(interval_s=1, running=True))
