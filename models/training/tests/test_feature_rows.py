"""Reading the features that a graph has written."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_up_features import write_columns

from tideflow_training.feature_rows import FeatureRowsError, read_feature_rows

GOOD = {
    "key": ["10", "2", "2", "10"],
    "time": [0, 1, 0, 1],
    "b": [1.0, 2.0, 3.0, 4.0],
    "a": [5.0, 6.0, 7.0, 8.0],
    "label": [0.0, 1.0, 0.0, 1.0],
}


def read(path, columns, **options):
    return read_feature_rows(write_columns(path, columns), ("a", "b"), **options)


def test_rows_come_by_key_and_time_with_the_features_in_the_order_asked_for(tmp_path):
    rows = read(tmp_path / "rows", GOOD)
    assert rows.keys() == ["2", "10"]
    assert rows.key.tolist() == ["2", "2", "10", "10"]
    assert rows.time.tolist() == [0, 1, 0, 1]
    assert rows.features.tolist() == [[7.0, 3.0], [6.0, 2.0], [5.0, 1.0], [8.0, 4.0]]
    assert rows.label.tolist() == [0.0, 1.0, 0.0, 1.0]
    later = rows.where(rows.time > 0)
    assert (later.keys(), later.label.tolist()) == (["2", "10"], [1.0, 1.0])


def test_labels_may_be_missing_where_nobody_needs_them(tmp_path):
    columns = {name: values for name, values in GOOD.items() if name != "label"}
    assert read(tmp_path / "rows", columns).label is None
    with pytest.raises(FeatureRowsError, match="no column `label`; found `key`, `time`, `b`, `a`"):
        read(tmp_path / "rows", columns, labelled=True)


def test_the_digest_is_of_what_a_model_is_given(tmp_path):
    one = read(tmp_path / "one", GOOD)
    turned = {name: values[::-1] for name, values in GOOD.items()}
    # In another order, packed otherwise, with more columns, in other types, the last bit different.
    turned |= {"c": ["x"] * 4, "time": pa.array(turned["time"], pa.uint16())}
    turned["b"] = np.nextafter(turned["b"], np.inf)
    pq.write_table(pa.table(turned), tmp_path / "two", compression="none", row_group_size=1)
    two = read_feature_rows(tmp_path / "two", ("a", "b"))
    assert one.digest == two.digest
    for name, values in {
        "key": ["11", "2", "2", "11"],
        "time": [0, 1, 0, 2],
        "a": [5.0, 6.0, 7.0, 8.001],
        "label": [1.0, 1.0, 0.0, 1.0],
    }.items():
        assert read(tmp_path / "other", {**GOOD, name: values}).digest != one.digest
    assert one.where(one.time == 0).digest != one.digest


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": None}, "no column `a`; found `key`, `time`, `b`, `label`"),
        ({"a": None, "time": None}, "no column `time`, `a`; found `key`, `b`, `label`"),
        ({"a": [1.0, np.nan, 1.0, 1.0]}, "column `a`, row 1: expected a finite number, found nan"),
        (
            {"b": [1.0, 1.0, 1.0, -np.inf]},
            "column `b`, row 3: expected a finite number, found -inf",
        ),
        ({"label": [0.0, None, 0.0, 1.0]}, "column `label`, row 1: expected a value, found none"),
        ({"key": ["x", "x", None, "y"]}, "column `key`, row 2: expected a value, found none"),
        ({"key": [1, 2, 3, 4]}, "column `key`: expected text, found int64"),
        ({"time": [0.0, 1.0, 0.0, 1.0]}, "column `time`: expected whole numbers, found double"),
        ({"a": ["1", "2", "3", "4"]}, "column `a`: expected float64, found string"),
        ({"time": [0, 1, 1, 1]}, "key `2` has two rows of time 1"),
    ],
)
def test_fault_a_file_that_is_wrong_says_where(tmp_path, columns, message):
    changed = {name: values for name, values in {**GOOD, **columns}.items() if values is not None}
    with pytest.raises(FeatureRowsError) as refused:
        read(tmp_path / "rows.parquet", changed)
    assert f"rows.parquet`: {message}" in str(refused.value)


def test_fault_a_file_without_rows_or_that_is_no_parquet_is_refused(tmp_path):
    empty = pa.table(GOOD).slice(0, 0)
    with pytest.raises(FeatureRowsError, match="rows`: expected rows, found none"):
        read(tmp_path / "rows", {name: empty[name] for name in GOOD})
    (tmp_path / "text").write_text("key,time\n")
    for name in ("text", "nowhere", "."):
        with pytest.raises(FeatureRowsError, match="cannot be read as Parquet: ") as refused:
            read_feature_rows(tmp_path / name, ("a", "b"))
        assert "\n" not in str(refused.value)
