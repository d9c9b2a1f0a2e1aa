"""How many positions may be open at once: who gets in, who is refused."""

import heapq

import numpy as np

from quantlab_assets.simulation.compiled.arrays import Flags, Integers


def admit(entry_ts: Integers, exit_ts: Integers, max_open_positions: int | None) -> Flags:
    """Tell which positions may open; they come by entry time, then alert_id.

    A position is open from `entry_ts` until just before `exit_ts`. One refused takes no room.
    """
    admitted = np.ones(len(entry_ts), dtype=np.bool_)
    if max_open_positions is None:
        return admitted
    exits: list[int] = []
    for position, (entry, exit_) in enumerate(
        zip(entry_ts.tolist(), exit_ts.tolist(), strict=True)
    ):
        while exits and exits[0] <= entry:
            heapq.heappop(exits)
        if len(exits) < max_open_positions:
            heapq.heappush(exits, exit_)
        else:
            admitted[position] = False
    return admitted
