"""Rows of features that a graph's own operators have written: a Parquet file to learn from.

Columns: `key` (text: what a row belongs to, such as a unit or a recording), `time` (a whole number
that rises within a key: a row's number or a cycle), one column of numbers for each feature, under
the feature's name, and, where it is known, `label` (a number). Others mean nothing.

Features are never computed here: what a model learns from is what it is given in a graph.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

KEY, TIME, LABEL = "key", "time", "label"
MAGIC = b"PAR1"


class FeatureRowsError(ValueError):
    """A file of features that cannot be read, or lacks what is needed of it."""


@dataclass(frozen=True)
class FeatureRows:
    """Rows by key and, within one, by time. Shorter keys come first, so that `2` is before `10`."""

    # [rows] each; no key has two rows of one time.
    key: np.ndarray
    time: np.ndarray
    # Float64, [rows, features].
    features: np.ndarray
    # Float64 [rows]; None where the file has no such column.
    label: np.ndarray | None

    def __len__(self) -> int:
        return len(self.key)

    def where(self, wanted: np.ndarray) -> FeatureRows:
        """The rows for which `wanted` is true."""
        label = None if self.label is None else self.label[wanted]
        return FeatureRows(self.key[wanted], self.time[wanted], self.features[wanted], label)

    def keys(self) -> list[str]:
        """Every key once, in their order."""
        return list(dict.fromkeys(self.key.tolist()))

    @property
    def digest(self) -> str:
        """SHA-256 of the rows as models are given them, in their order: for each the length of its
        key (8 bytes), its key, its time (8 bytes), its features as float32 and, where there are
        labels, its label as float32; all little endian.

        How the file is packed does not matter, nor does the last bit of a float64.
        """
        columns = [self.features] if self.label is None else [self.features, self.label[:, None]]
        numbers = np.concatenate(columns, axis=1).astype("<f4")
        digest = hashlib.sha256()
        for key, time, row in zip(self.key, self.time.astype("<i8"), numbers):
            name = key.encode()
            for part in (len(name).to_bytes(8, "little"), name, time.tobytes(), row.tobytes()):
                digest.update(part)
        return digest.hexdigest()


def is_parquet(path: Path | str) -> bool:
    """Whether the file begins as Parquet does; one that cannot be read does not."""
    try:
        with Path(path).open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def read_feature_rows(
    path: Path | str, features: tuple[str, ...], *, labelled: bool = False
) -> FeatureRows:
    """The rows in the file; `labelled` says that there must be labels."""
    try:
        with pq.ParquetFile(path) as file:
            found = file.schema_arrow.names
            wanted = _wanted(path, found, features, labelled)
            table = file.read(columns=wanted, use_threads=False)
    except (OSError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise FeatureRowsError(f"`{path}` cannot be read as Parquet: {reason}") from error
    if len(table) == 0:
        raise FeatureRowsError(f"`{path}`: expected rows, found none")
    key = _key(path, table[KEY])
    time = _time(path, table[TIME])
    order = np.lexsort((time, key, np.char.str_len(key)))
    key, time = key[order], time[order]
    twice = np.flatnonzero((key[1:] == key[:-1]) & (time[1:] == time[:-1]))
    if len(twice):
        at = twice[0]
        raise FeatureRowsError(f"`{path}`: key `{key[at]}` has two rows of time {time[at]}")
    numbers = {name: _numbers(path, name, table[name])[order] for name in wanted[2:]}
    label = numbers.pop(LABEL, None)
    return FeatureRows(key, time, np.stack(list(numbers.values()), axis=1), label)


def _wanted(
    path: Path | str, found: list[str], features: tuple[str, ...], labelled: bool
) -> list[str]:
    """The columns to read: key, time, features, label if there is one."""
    needed = [KEY, TIME, *features, *([LABEL] if labelled else [])]
    missing = [f"`{name}`" for name in needed if name not in found]
    if missing:
        said = ", ".join(f"`{name}`" for name in found)
        raise FeatureRowsError(f"`{path}`: no column {', '.join(missing)}; found {said}")
    return needed if labelled or LABEL not in found else [*needed, LABEL]


def _key(path: Path | str, column: pa.ChunkedArray) -> np.ndarray:
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        raise FeatureRowsError(f"`{path}`: column `{KEY}`: expected text, found {column.type}")
    _expect_whole(path, KEY, column)
    return np.array(column.to_pylist(), str)


def _time(path: Path | str, column: pa.ChunkedArray) -> np.ndarray:
    if not pa.types.is_integer(column.type):
        kind = column.type
        raise FeatureRowsError(f"`{path}`: column `{TIME}`: expected whole numbers, found {kind}")
    _expect_whole(path, TIME, column)
    return column.cast(pa.int64()).to_numpy()


def _numbers(path: Path | str, name: str, column: pa.ChunkedArray) -> np.ndarray:
    if not pa.types.is_floating(column.type):
        raise FeatureRowsError(f"`{path}`: column `{name}`: expected float64, found {column.type}")
    _expect_whole(path, name, column)
    values = column.cast(pa.float64()).to_numpy()
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise FeatureRowsError(
            f"`{path}`: column `{name}`, row {bad[0]}: expected a finite number, "
            f"found {values[bad[0]]}"
        )
    return values


def _expect_whole(path: Path | str, name: str, column: pa.ChunkedArray) -> None:
    if column.null_count:
        row = pc.index(column.is_null(), True).as_py()
        raise FeatureRowsError(
            f"`{path}`: column `{name}`, row {row}: expected a value, found none"
        )
