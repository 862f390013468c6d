"""What the report says of figures whose answers are known."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from goals import engines, infer
from goals.table import at_least, at_most, ratios, row

SMALL, LARGE = "10-64-64-1", "784-32-32-32-32-10"


def cells(text, what):
    """The cells behind the first, of the one line of a table that begins so."""
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {what} |")]
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def test_a_goal_is_met_up_to_its_limit_and_the_median_decides():
    assert row("x", at_most(1.1), [0.5, 1.1, 9.0]) == ["x", "at most 1.10", "1.10 (0.50 to 9.00)", "met"]
    assert row("x", at_most(1.1), [0.5, 1.2, 9.0])[3] == "**missed**"
    assert row("x", at_least(3.0), [3.0])[3] == "met"
    assert row("x", at_least(3.0), [2.9, 2.9, 9.0])[3] == "**missed**"


def test_what_was_not_measured_meets_nothing():
    assert row("x", at_most(1.0), []) == ["x", "at most 1.00", "no runs", "not measured"]
    assert row("x", None, []) == ["x", "none", "no runs", ""]
    assert row("x", None, [2.0])[3] == ""


def test_ratios_are_taken_round_by_round():
    assert ratios([1.0, 9.0], [2.0, 3.0]) == [0.5, 3.0]
    assert ratios([1.0], []) == []


def run(workload, peer, mode="exactly_once", parallelism=1, **found):
    row = {"workload": workload, "peer": peer, "mode": mode, "parallelism": parallelism}
    return row | {"correct": True} | found


def test_runs_that_were_wrong_or_held_up_do_not_count():
    late = run("latency", "tideflow-20ms", rate=5_000, p50_ms=90.0, p99_ms=90.0, send_lag_p99_ms=5.1)
    wrong = run("window", "tideflow", cpu_s_per_million=1.0) | {"correct": False}
    text = engines.report([late, wrong, run("window", "floor", "none", cpu_s_per_million=2.0)])
    assert cells(text, "5000 readings a second, epochs of 20 ms: p50")[1:] == ["no runs", "not measured"]
    found = cells(text, "exactly once, 1 worker: against the hand-written loop with serde")
    assert found == ["at most 1.00", "no runs", "not measured"]


def test_engines_are_compared_with_rows_of_their_own_parallelism_and_rate():
    text = engines.report(
        [
            run("window", "tideflow", cpu_s_per_million=0.5),
            run("window", "flink", cpu_s_per_million=2.0),
            run("window", "tideflow", parallelism=2, cpu_s_per_million=0.8),
            run("window", "flink", parallelism=2, cpu_s_per_million=1.6),
            run("latency", "tideflow-20ms", rate=5_000, p50_ms=20.0, p99_ms=61.0),
            run("latency", "tideflow-20ms", rate=20_000, p50_ms=200.0, p99_ms=610.0),
        ]
    )
    flink = "against Flink, exactly once"
    assert cells(text, f"exactly once, 1 worker: {flink}")[1:] == ["0.25 (0.25 to 0.25)", "met"]
    assert cells(text, f"exactly once, 2 workers: {flink}")[1:] == ["0.50 (0.50 to 0.50)", "**missed**"]
    assert cells(text, "5000 readings a second, epochs of 20 ms: p50")[2] == "met"
    assert cells(text, "5000 readings a second, epochs of 20 ms: p99")[2] == "**missed**"
    assert cells(text, "20000 readings a second, epochs of 20 ms: p99")[::2] == ["none", ""]


def figure(number, what, rows, rate):
    return {"round": number, "network": LARGE, "what": what, "found": {"batch_rows": rows, "rows_per_s": rate}}


def open_loop(number, p99, without):
    found = {"p50_ms": 1.0, "p99_ms": p99, "without_p50_ms": 0.5, "without_p99_ms": without, "batch_rows": 64}
    return {"round": number, "network": LARGE, "what": "open loop", "found": found}


# Two rounds, the second with two pairs; what the pipeline picks is 64 rows a call.
FIGURES = [
    figure(1, "bare", 8, 500_000.0),
    figure(1, "bare", 64, 1_000_000.0),
    figure(1, "pipeline", 64, 900_000.0),
    figure(1, "pipeline", 1, 10_000.0),
    figure(1, "one core", 64, 600_000.0),
    open_loop(1, 12.0, 1.5),
    figure(2, "bare", 8, 500_000.0),
    figure(2, "bare", 64, 1_500_000.0),
    figure(2, "pipeline", 64, 1_200_000.0),
    figure(2, "bare", 64, 2_500_000.0),
    figure(2, "pipeline", 64, 800_000.0),
    figure(2, "pipeline", 1, 30_000.0),
    figure(2, "one core", 64, 700_000.0),
    open_loop(2, 13.0, 2.5),
]


def test_inference_is_shown_by_rows_a_call_and_its_own_number_stands_out():
    text = infer.in_memory(FIGURES)
    rates = [line for line in text.splitlines() if line.startswith(f"| {LARGE} |")]
    assert rates == [
        f"| {LARGE} | 1 |  | 20,000 |  |",
        f"| {LARGE} | 8 | 500,000 |  |  |",
        f"| {LARGE} | **64** | 1,500,000 | 950,000 | 0.70 |",
        f"| {LARGE} | 64, on one core | 1,500,000 | 650,000 | 0.47 |",
        f"| {LARGE} | 1.00 | 12.50 | 0.50 | 2.00 |",
    ]


def test_inference_is_held_against_its_goals():
    text = infer.against_goals(FIGURES, [])
    of_bare = cells(text, f"{LARGE}: pipeline of bare `SessionRun`")
    assert of_bare == ["at least 0.80", "0.70 (0.50 to 0.90)", "**missed**"]
    added = cells(text, f"{LARGE}: added at p99, 5,000 rows a second on one core, ms")
    assert added == ["at most 10.0", "10.5 (10.5 to 10.5)", "**missed**"]
    of_single = cells(text, f"{LARGE}: pipeline of itself with one row a call")
    assert of_single == ["at least 50.0", "61.7 (33.3 to 90.0)", "met"]


def test_scoring_from_kafka_is_compared_at_least_once_as_the_others_are():
    score = lambda peer, mode, **found: run("score", peer, mode, **found)
    text = infer.against_goals(
        FIGURES,
        [
            score("kstreams", "at_least_once", cpu_s_per_million=160.0, events_per_s=7_000.0),
            score("tideflow", "at_least_once", cpu_s_per_million=32.0, events_per_s=14_000.0),
            score("tideflow", "exactly_once", cpu_s_per_million=320.0, events_per_s=70_000.0),
        ],
    )
    of = "`score`, 1 worker, against Kafka Streams with ONNX Runtime:"
    assert cells(text, f"{of} CPU a record") == ["at most 0.25", "0.20 (0.20 to 0.20)", "met"]
    assert cells(text, f"{of} records a second") == ["at least 3.00", "2.00 (2.00 to 2.00)", "**missed**"]
    assert cells(text, f"{of.replace('1 worker', '2 workers')} CPU a record") == ["none", "no runs", ""]


def goals(*args):
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run([sys.executable, "-m", "goals", *args], env=env, capture_output=True, text=True)


def test_the_command_reads_files_and_refuses_what_it_does_not_know(tmp_path):
    figures, runs = tmp_path / "figures.jsonl", tmp_path / "runs.jsonl"
    figures.write_text("".join(json.dumps(line) + "\n" for line in FIGURES))
    runs.touch()
    assert goals("infer", figures, runs).stdout == infer.against_goals(FIGURES, []) + "\n"
    assert goals("infer-figures", figures).stdout == infer.in_memory(FIGURES) + "\n"
    refused = goals("infer", figures)
    assert refused.returncode == 1 and "goals engines RUNS" in refused.stderr


@pytest.mark.parametrize("network", [SMALL, LARGE])
def test_a_network_that_was_not_measured_is_in_no_table(network):
    other = [line for line in FIGURES if line["network"] != network]
    assert f"| {network} |" not in infer.in_memory(other)
