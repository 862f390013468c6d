"""Alarms with hysteresis, as the graph raises them, for judging a model without the graph."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# What scores are calibrated for, what `evaluate` uses and what the manifest says. The graph takes
# its own from its configuration, where the same are the defaults: a test holds them together.
RAISE_ABOVE = 0.9
CLEAR_BELOW = 0.6
WINDOWS_MIN = 2
FORGET_AFTER_MS = 86_400_000


@dataclass(frozen=True)
class Alarm:
    """One alarm of one device, by the indexes of its windows."""

    # The window that raised it.
    raised: int
    # The window that cleared it, or the first after a silence in which it expired; None while on.
    ended: int | None


def raise_alarms(
    score: np.ndarray,
    end_ms: np.ndarray,
    raise_above: float = RAISE_ABOVE,
    clear_below: float = CLEAR_BELOW,
    for_at_least: int = WINDOWS_MIN,
    forget_after_ms: int = FORGET_AFTER_MS,
) -> list[Alarm]:
    """Alarms of one device with these scores, in the order of its windows, which end at `end_ms`.

    Raised by the last of `for_at_least` windows in a row that score above `raise_above`, cleared
    by the first after it below `clear_below`. Windows are in a row also where time without any
    lies between them, unless more than `forget_after_ms` pass from one end to the next: then all
    that came before is forgotten, and an alarm that was on has expired. (The graph looks 64 times
    in that span, so it forgets up to 1/64 of it later.)
    """
    alarms: list[Alarm] = []
    above, on = 0, False
    for index, value in enumerate(score):
        expired = index > 0 and end_ms[index] - end_ms[index - 1] > forget_after_ms
        if on and (expired or value < clear_below):
            alarms[-1] = Alarm(alarms[-1].raised, index)
            above, on = 0, False
        if on:
            continue
        before = 0 if expired else above
        above = before + 1 if value > raise_above else 0
        if above >= for_at_least:
            alarms.append(Alarm(index, None))
            on = True
    return alarms
