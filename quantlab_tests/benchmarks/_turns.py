"""Timing that a busy machine does not spoil: variants take turns, ratios are of the same round."""

import statistics
import time
from collections.abc import Callable, Mapping

Timings = Mapping[str, list[float]]


def take_turns(
    variants: Mapping[str, Callable[[], object]],
    rounds: int,
    *,
    warm: bool = True,
    clock: Callable[[], float] = time.perf_counter,
) -> Timings:
    """Time each variant once a round, after one untimed run of each if `warm`.

    `clock` tells seconds: `time.process_time` counts those of all processors, which others that
    work on the machine do not lengthen.
    """
    if warm:
        for run in variants.values():
            run()
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, run in variants.items():
            begun = clock()
            run()
            seconds[name].append(clock() - begun)
    return seconds


def ratio(timings: Timings, slow: str, fast: str) -> float:
    """The median over the rounds of how many times longer `slow` took than `fast`."""
    return statistics.median(a / b for a, b in zip(timings[slow], timings[fast], strict=True))


def show(title: str, timings: Timings, ratios: Mapping[str, tuple[str, str, str]]) -> None:
    """Print the median times, then each ratio with the figure it is held against."""
    print(f"\n{title}")
    for name, seconds in timings.items():
        print(f"  {name:<58}{statistics.median(seconds) * 1e3:>10.2f} ms")
    for name, (slow, fast, goal) in ratios.items():
        print(f"  {name:<58}{ratio(timings, slow, fast):>10.2f} x    ({goal})", flush=True)
