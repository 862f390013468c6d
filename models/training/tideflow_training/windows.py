"""Window statistics as the graph writes them: one JSON object a line.

    {"device": "d000123", "window_start": 1700000000000, "window_end": 1700000060000, "count": 10,
     "temperature": {"mean": 21.4, "std": 0.1, "min": 21.2, "max": 21.6}, ...}

Every key whose value is an object with `mean`, `std`, `min` and `max` is a field.

Or as a graph writes them for training, `features --to FILE`: Parquet with `key`, `time` and the
statistics of each field, `temperature.mean` and so on.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tideflow_training.feature_rows import is_parquet, read_feature_rows

STATISTICS = ("mean", "std", "min", "max")


class WindowsFileError(ValueError):
    """A file of windows that cannot be read, with the line at fault."""

    def __init__(self, path: Path | str, line: int | None, reason: str):
        where = f"{path}:{line}" if line else f"{path}"
        super().__init__(f"{where}: {reason}")
        self.line = line


@dataclass(frozen=True)
class Windows:
    """Windows in the order of the file.

    `features` is [windows, 4 * fields], float64: mean, std, min, max of the first field, then of
    the second, and so on. `start_ms` and `end_ms` are ms since the Unix epoch.
    """

    fields: tuple[str, ...]
    device: np.ndarray
    start_ms: np.ndarray
    # None where the file does not say.
    end_ms: np.ndarray | None
    features: np.ndarray
    # Each window as it was read, bytes without the line's end; of a row of features as it would be.
    lines: np.ndarray

    def __len__(self) -> int:
        return len(self.device)

    @property
    def digest(self) -> str:
        """SHA-256 of these windows' lines, as of a file that holds just them."""
        digest = hashlib.sha256()
        for line in self.lines:
            digest.update(line + b"\n")
        return digest.hexdigest()

    def where(self, mask: np.ndarray) -> Windows:
        """The windows for which `mask` is true."""
        return Windows(
            self.fields,
            self.device[mask],
            self.start_ms[mask],
            None if self.end_ms is None else self.end_ms[mask],
            self.features[mask],
            self.lines[mask],
        )


def feature_names(fields: tuple[str, ...]) -> list[str]:
    """The model's inputs in their order: `temperature.mean`, `temperature.std`, ..."""
    return [f"{field}.{statistic}" for field in fields for statistic in STATISTICS]


def read_windows(path: Path | str, fields: tuple[str, ...] | None = None) -> Windows:
    """Reads a file of windows; `fields` in that order, or those of the first line.

    Raises `WindowsFileError` with the line for anything but finite statistics of every field.
    """
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise WindowsFileError(path, None, f"cannot be read: {error.strerror}") from error
    return parse_windows(raw.split(b"\n"), path, fields)


def read_windows_or_rows(path: Path | str, fields: tuple[str, ...]) -> Windows:
    """The windows of these fields in a file of either form."""
    if not is_parquet(path):
        return read_windows(path, fields)
    rows = read_feature_rows(path, tuple(feature_names(fields)))
    lines = []
    for key, time, row in zip(rows.key.tolist(), rows.time.tolist(), rows.features.tolist()):
        statistics = (dict(zip(STATISTICS, row[at:])) for at in range(0, len(row), len(STATISTICS)))
        line = {"device": key, "window_start": time, **dict(zip(fields, statistics))}
        lines.append(json.dumps(line, separators=(",", ":")).encode())
    return Windows(fields, rows.key, rows.time, None, rows.features, np.array(lines, object))


def parse_windows(
    text: Iterable[bytes], path: Path | str, fields: tuple[str, ...] | None = None
) -> Windows:
    """The windows in these lines, as `read_windows` gives those of a file; `path` is for errors."""
    device, start, end, rows, lines = [], [], [], [], []
    for number, line in enumerate(text, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line, parse_constant=_refuse_constant)
            if not isinstance(record, dict):
                raise ValueError(f"expected an object, found {_kind(record)}")
            if fields is None:
                fields = _find_fields(record)
            device.append(_text(record, "device"))
            start.append(_integer(record, "window_start"))
            end.append(_integer(record, "window_end"))
            rows.append(_statistics(record, fields))
            lines.append(line)
        except (ValueError, OverflowError, RecursionError) as error:
            raise WindowsFileError(path, number, str(error)) from error
    if not rows:
        raise WindowsFileError(path, None, "holds no window")
    return Windows(
        fields,
        np.array(device),
        np.array(start, np.int64),
        np.array(end, np.int64),
        np.array(rows, np.float64),
        np.array(lines, object),
    )


def _find_fields(record: dict) -> tuple[str, ...]:
    found = tuple(
        key
        for key, value in record.items()
        if isinstance(value, dict) and all(statistic in value for statistic in STATISTICS)
    )
    if not found:
        raise ValueError("no field with `mean`, `std`, `min` and `max`")
    return found


def _statistics(record: dict, fields: tuple[str, ...]) -> list[float]:
    row = []
    for field in fields:
        if field not in record:
            raise ValueError(f"field `{field}` is missing")
        value = record[field]
        if not isinstance(value, dict):
            raise ValueError(f"field `{field}` is {_kind(value)}, expected an object")
        for statistic in STATISTICS:
            row.append(_number(value, field, statistic))
        _, std, low, high = row[-4:]
        if std < 0:
            raise ValueError(f"`{field}.std` is {std}, expected 0 or more")
        if low > high:
            raise ValueError(f"`{field}.min` is {low}, above `{field}.max` {high}")
    return row


def _number(value: dict, field: str, statistic: str) -> float:
    name = f"{field}.{statistic}"
    if statistic not in value:
        raise ValueError(f"`{name}` is missing")
    number = value[statistic]
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        raise ValueError(f"`{name}` is {_kind(number)}, expected a number")
    if not math.isfinite(number):
        raise ValueError(f"`{name}` is not finite")
    return number


def _text(record: dict, key: str) -> str:
    value = record.get(key)
    if not isinstance(value, str):
        raise ValueError(f"`{key}` is {_kind(value)}, expected a string")
    return value


def _integer(record: dict, key: str) -> int:
    value = record.get(key)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"`{key}` is {_kind(value)}, expected ms since the epoch")
    if abs(value) >= 2**63:
        raise ValueError(f"`{key}` is {value}, expected ms since the epoch")
    return value


def _kind(value: object) -> str:
    if value is None:
        return "missing or null"
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string"}
    return names.get(type(value), "an array" if isinstance(value, list) else "an object")


def _refuse_constant(name: str) -> float:
    raise ValueError(f"`{name}` is not a JSON number")
