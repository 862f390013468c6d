"""The side-by-side comparison: workloads `window` and `latency`."""

from __future__ import annotations

from .table import at_most, goals, ratios, row

SEND_LAG_MS_MAX = 5  # as the harness: it was itself held up by something else

ABOUT = "Ratios are of CPU a reading, the median of the rounds and the least and the largest; times in ms."


class Runs:
    """Those that count: whose output was right, and that nothing else held up."""

    def __init__(self, runs: list[dict]):
        on_time = lambda run: run.get("send_lag_p99_ms", 0) <= SEND_LAG_MS_MAX
        self.runs = [run for run in runs if run["correct"] and on_time(run)]

    def figures(self, key: str, *wanted) -> list[float]:
        """That figure of all runs of one row, in their order: its workload, peer, mode, parallelism, rate."""
        names = ("workload", "peer", "mode", "parallelism", "rate")
        wanted += (None,) * (len(names) - len(wanted))
        return [run[key] for run in self.runs if tuple(map(run.get, names)) == wanted]


def report(lines: list[dict]) -> str:
    runs = Runs(lines)
    rows = [row for workers in (1, 2) for row in windows(runs, workers)]
    rows += [row for rate in (5_000, 20_000) for ms in (20, 50) for row in latencies(runs, rate, ms)]
    return f"{ABOUT}\n\n{goals(rows)}"


def windows(runs: Runs, workers: int) -> list[list[str]]:
    cpu = lambda peer, mode: runs.figures("cpu_s_per_million", "window", peer, mode, workers)
    ours, with_serde = cpu("tideflow", "exactly_once"), cpu("tideflow-serde", "exactly_once")
    of = f"exactly once, {workers} worker{'s' * (workers > 1)}: against"
    against = [
        ("at least once", at_most(1.10), ours, cpu("tideflow", "at_least_once")),
        ("the hand-written loop with serde", at_most(1.00), ours, cpu("floor", "none")),
        ("it, ours with serde too", at_most(1.20), with_serde, cpu("floor", "none")),
        ("the hand-written loop with its own decoder", None, ours, cpu("floor-fast", "none")),
        ("Flink, exactly once", at_most(0.33), ours, cpu("flink", "exactly_once")),
        ("Kafka Streams, exactly once", None, ours, cpu("kstreams", "exactly_once")),
    ]
    return [row(f"{of} {what}", goal, ratios(a, b)) for what, goal, a, b in against]


def latencies(runs: Runs, rate: int, ms: int) -> list[list[str]]:
    of = lambda key: runs.figures(key, "latency", f"tideflow-{ms}ms", "exactly_once", 1, rate)
    aimed = rate == 5_000
    what = f"{rate} readings a second, epochs of {ms} ms:"
    return [
        row(f"{what} p50", at_most(25) if aimed else None, of("p50_ms"), 1),
        row(f"{what} p99", at_most(60) if aimed else None, of("p99_ms"), 1),
    ]
