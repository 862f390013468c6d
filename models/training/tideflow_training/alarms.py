"""Alarms with hysteresis, as the graph raises them, for judging a model without the graph."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# What a model's scores are calibrated for; the graph takes them from the manifest.
RAISE_ABOVE = 0.9
CLEAR_BELOW = 0.6


@dataclass(frozen=True)
class Alarm:
    """One alarm of one device, by the indexes of its windows."""

    # The window that raised it.
    raised: int
    # The window that cleared it, or None while it is on.
    cleared: int | None


def raise_alarms(
    score: np.ndarray,
    raise_above: float = RAISE_ABOVE,
    clear_below: float = CLEAR_BELOW,
    for_at_least: int = 2,
) -> list[Alarm]:
    """Alarms of one device with these scores, in the order of its windows.

    Raised by the last of `for_at_least` windows in a row that score `raise_above` or more,
    cleared by the first after it below `clear_below`.
    """
    alarms: list[Alarm] = []
    above, on = 0, False
    for index, value in enumerate(score):
        if on:
            if value < clear_below:
                alarms[-1] = Alarm(alarms[-1].raised, index)
                above, on = 0, False
            continue
        above = above + 1 if value >= raise_above else 0
        if above >= for_at_least:
            alarms.append(Alarm(index, None))
            on = True
    return alarms
