"""The goals of the side-by-side comparison against its results: bench_goals.py results.jsonl"""

import json
import statistics
import sys

SEND_LAG_MS_MAX = 5  # as the harness: it was itself held up by something else

runs = [json.loads(line) for line in open(sys.argv[1])]
runs = [r for r in runs if r["correct"] and r.get("send_lag_p99_ms", 0) <= SEND_LAG_MS_MAX]


def figures(key, workload, peer, mode, parallelism=1, rate=None):
    """That figure of all runs of one row, in their order."""
    row = (workload, peer, mode, parallelism, rate)
    of = lambda r: (r["workload"], r["peer"], r["mode"], r["parallelism"], r.get("rate"))
    return [r[key] for r in runs if of(r) == row]


def ratio(ours, theirs):
    """Round by round, so that both had the machine as it was then."""
    ratios = [a / b for a, b in zip(ours, theirs)]
    if not ratios:
        return "no runs"
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def median(values):
    return f"{statistics.median(values):.1f}" if values else "no runs"


print("Ratios are of CPU a reading, the median of the rounds and the least and the largest; times in ms.\n")
print("| what | goal | found |")
print("|---|---|---|")
for workers in (1, 2):
    cpu = lambda peer, mode: figures("cpu_s_per_million", "window", peer, mode, workers)
    ours = cpu("tideflow", "exactly_once")
    of = f"exactly once, {workers} worker{'s' * (workers > 1)}: against"
    for what, goal, found in [
        ("at least once", "at most 1.10", ratio(ours, cpu("tideflow", "at_least_once"))),
        ("the hand-written loop with serde", "at most 1.00", ratio(ours, cpu("floor", "none"))),
        ("it, ours with serde too", "at most 1.20", ratio(cpu("tideflow-serde", "exactly_once"), cpu("floor", "none"))),
        ("the hand-written loop with its own decoder", "none", ratio(ours, cpu("floor-fast", "none"))),
        ("Flink, exactly once", "at most 0.33", ratio(ours, cpu("flink", "exactly_once"))),
        ("Kafka Streams, exactly once", "none", ratio(ours, cpu("kstreams", "exactly_once"))),
    ]:
        print(f"| {of} {what} | {goal} | {found} |")
for rate in (5_000, 20_000):
    for ms in (20, 50):
        row = ("latency", f"tideflow-{ms}ms", "exactly_once", 1, rate)
        p50, p99 = (median(figures(key, *row)) for key in ("p50_ms", "p99_ms"))
        goal = "at most 25 / 60" if rate == 5_000 else "none"
        print(f"| {rate} readings a second, epochs of {ms} ms: p50 / p99 | {goal} | {p50} / {p99} |")
