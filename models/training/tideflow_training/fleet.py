"""Windows of a made-up fleet, for those who have none: close kin of the simulator in Rust.

Current and vibration follow a load that changes over the day, temperature follows current with a
lag of minutes, every device has its own base. Bytes and seeds are not the simulator's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

START_MS = 1_699_999_980_000
WINDOW_MS = 60_000
READINGS = 10
DAY_MS = 86_400_000
KINDS = ("drift", "spikes", "stuck")

# A fault begins after some healthy minutes and lasts at least this many; the run must hold both.
HEALTHY_MIN = 4
FAULT_MIN = 6


class TooFewMinutesError(ValueError):
    """A run too short for a fault."""


@dataclass(frozen=True)
class Fault:
    """One fault: `kind` from minute `start` to minute `end` (exclusive) of the run."""

    device: int
    kind: str
    start: int
    end: int

    def label(self) -> str:
        """The fault as a line for `evaluate --labels`."""
        record = {
            "device": device_name(self.device),
            "from": START_MS + self.start * WINDOW_MS,
            "to": START_MS + self.end * WINDOW_MS,
            "kind": self.kind,
        }
        return json.dumps(record)


def device_name(index: int) -> str:
    """`d` and six digits."""
    return f"d{index:06d}"


def make_faults(count: int, devices: int, minutes: int, seed: int) -> list[Fault]:
    """Up to `count` faults of 6 to 9 minutes on as many devices, kinds in turns."""
    if count and minutes < HEALTHY_MIN + FAULT_MIN:
        raise TooFewMinutesError(
            f"{minutes} minutes, expected at least {HEALTHY_MIN + FAULT_MIN} to hold a fault"
        )
    random = np.random.default_rng((seed, 1))
    count = min(count, devices)
    chosen = random.choice(devices, size=count, replace=False)
    faults = []
    for turn, device in enumerate(chosen):
        start = int(random.integers(HEALTHY_MIN, max(minutes - 9, HEALTHY_MIN + 1)))
        length = int(random.integers(FAULT_MIN, 10))
        kind = KINDS[turn % len(KINDS)]
        faults.append(Fault(int(device), kind, start, min(start + length, minutes)))
    return faults


def make_windows(
    devices: int, minutes: int, seed: int, faults: list[Fault] | None = None
) -> Iterator[str]:
    """The windows as JSON lines, minute by minute."""
    random = np.random.default_rng((seed, 0))
    base = {
        "temperature": random.uniform(20.0, 24.0, devices),
        "vibration": random.uniform(0.6, 1.0, devices),
        "current": random.uniform(3.8, 4.6, devices),
    }
    site = random.integers(24, size=devices)
    duty = random.normal(size=devices)
    warmth = 0.12 * base["current"] * _load(START_MS, site, duty)
    stuck: dict[Fault, float] = {}
    for minute in range(minutes):
        start_ms = START_MS + minute * WINDOW_MS
        readings = {field: np.empty((devices, READINGS)) for field in base}
        for turn in range(READINGS):
            at_ms = start_ms + turn * WINDOW_MS // READINGS
            duty = 0.993 * duty + 0.115 * random.normal(size=devices)
            load = _load(at_ms, site, duty)
            above = 0.12 * load * base["current"]
            warmth = 0.976 * warmth + 0.024 * above
            noise = random.normal(size=(3, devices))
            readings["temperature"][:, turn] = base["temperature"] + 5.0 * warmth + 0.08 * noise[0]
            readings["vibration"][:, turn] = base["vibration"] * (1 + 0.15 * load) + 0.02 * noise[1]
            readings["current"][:, turn] = base["current"] + above + 0.04 * noise[2]
        for fault in faults or []:
            if fault.start <= minute < fault.end:
                _break(fault, minute, readings, stuck, random)
        yield from _lines(start_ms, readings)


def _load(at_ms: int, site: np.ndarray, duty: np.ndarray) -> np.ndarray:
    day = (at_ms + site * 3_600_000) % DAY_MS / DAY_MS
    return 0.7 * np.sin(2 * np.pi * day) + 0.2 * duty


def _break(fault: Fault, minute: int, readings: dict, stuck: dict, random) -> None:
    device = fault.device
    if fault.kind == "drift":
        since = minute - fault.start + np.arange(READINGS) / READINGS
        readings["temperature"][device] += 2.0 * since
    elif fault.kind == "spikes":
        hit = random.random(READINGS) < 0.4
        gain = np.where(hit, random.uniform(2.0, 4.0, READINGS), 1.0)
        readings["vibration"][device] *= gain
    else:
        field = list(readings)[device % len(readings)]
        value = stuck.setdefault(fault, float(readings[field][device, 0]))
        readings[field][device] = value


def _lines(start_ms: int, readings: dict[str, np.ndarray]) -> Iterator[str]:
    digits = {"temperature": 2, "vibration": 3, "current": 2}
    columns = {}
    for field, values in readings.items():
        values = np.round(values, digits[field])
        low, high = values.min(axis=1), values.max(axis=1)
        # The spread of equal values is 0, not what is left of summing them.
        std = np.where(low == high, 0.0, values.std(axis=1))
        columns[field] = np.stack([values.mean(axis=1), std, low, high], axis=1).tolist()
    for device in range(len(low)):
        record = {
            "device": device_name(device),
            "window_start": start_ms,
            "window_end": start_ms + WINDOW_MS,
            "count": READINGS,
        }
        for field, rows in columns.items():
            record[field] = dict(zip(("mean", "std", "min", "max"), rows[device]))
        yield json.dumps(record)
