"""Small Parquet files of features, as graphs write them."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tideflow_training.recipes import pump_anomaly, turbofan_rul


def write_columns(path: Path, columns: dict) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def pump_columns(recordings: int = 4, rows: int = 500, seed: int = 1) -> dict:
    """Two causes move seven channels; from row 450 on the last one, the flow, falls by 6."""
    random = np.random.default_rng(seed)
    mixed = random.normal(size=(2, 7))
    count, time = recordings * rows, np.tile(np.arange(rows), recordings)
    features = random.normal(size=(count, 2)) @ mixed + random.normal(0, 0.3, (count, 7))
    faulty = time >= 450
    features[faulty, 6] -= 6.0
    return {
        "key": [f"{index}.csv" for index in range(1, recordings + 1) for _ in range(rows)],
        "time": time,
        **{name: features[:, index] for index, name in enumerate(pump_anomaly.FEATURES)},
        "label": faulty.astype(np.float64),
    }


def engine_columns(engines: int = 10, seed: int = 1) -> dict:
    """Engines of 100 to 250 cycles whose sensors rise, the nearer the end the faster."""
    random = np.random.default_rng(seed)
    key, time, features, label = [], [], [], []
    for engine in range(1, engines + 1):
        cycles = int(random.integers(100, 251))
        cycle = np.arange(1, cycles + 1)
        worn = (cycle / cycles)[:, None] ** 2
        noise = random.normal(0, 0.05, (cycles, 56))
        features.append(np.hstack([500.0 + worn + noise, np.log(cycle)[:, None]]))
        key += [str(engine)] * cycles
        time.append(cycle)
        label.append(cycles - cycle)
    features = np.concatenate(features)
    return {
        "key": key,
        "time": np.concatenate(time),
        **{name: features[:, index] for index, name in enumerate(turbofan_rul.NAMES)},
        "label": np.concatenate(label).astype(np.float64),
    }
