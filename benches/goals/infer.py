"""Inference: the operator in memory beside bare `SessionRun`, and the workload `score`."""

from __future__ import annotations

import statistics

from .engines import Runs
from .table import Goal, at_least, at_most, goals, ratios, row, table

OF_BARE, DELAY_MS, OF_SINGLE = at_least(0.80), at_most(10.0), at_least(50.0)
SCORE_CPU, SCORE_RATE = at_most(0.25), at_least(3.0)

ABOUT_MEMORY = """\
One thread calls the session, in the pipeline and without it, and uses no other; the first fifth is left out.
Bare `SessionRun` is given the same tensor again and again. The pipeline makes rows, fills tensors with them
and gives each row its scores, on a worker's thread beside the one that calls; in **bold** is the number of
rows a call that it picks. With that number the two are measured in turns, four times a round, and a round's
figure is their mean. "On one core" both of its threads share one."""

ABOUT_DELAYS = """\
Open loop on one core, 5,000 rows a second: each is due at its time whatever the operator does. Every row
counts, from when it was due until its score was there."""

ABOUT_GOALS = "Medians of the rounds, the least and the largest; ratios are taken round by round."


class Figures:
    def __init__(self, lines: list[dict]):
        self.lines = lines
        self.networks = list(dict.fromkeys(line["network"] for line in lines))

    def of(self, key: str, network: str, what: str, rows: int | None = None) -> list[float]:
        """That figure of each round, the mean of its runs, of so many rows a call or any."""
        rounds: dict[int, list[float]] = {}
        for line in self.lines:
            found = line["found"]
            if (line["network"], line["what"]) == (network, what) and rows in (None, found["batch_rows"]):
                rounds.setdefault(line["round"], []).append(found[key])
        return [statistics.mean(rounds[number]) for number in sorted(rounds)]

    def own(self, network: str) -> int | None:
        """The rows a call that the pipeline picks: it runs with these, and with one."""
        return max(self.sizes(network, "pipeline"), default=None)

    def sizes(self, network: str, *whats: str) -> set[int]:
        """The rows a call of all runs of these."""
        wanted = lambda line: line["network"] == network and line["what"] in whats
        return {line["found"]["batch_rows"] for line in self.lines if wanted(line)}


def in_memory(lines: list[dict]) -> str:
    figures = Figures(lines)
    return "\n\n".join([ABOUT_MEMORY, rates(figures), ABOUT_DELAYS, delays(figures)])


def against_goals(lines: list[dict], runs: list[dict]) -> str:
    figures = Figures(lines)
    rows = [row for network in figures.networks for row in in_memory_goals(figures, network)]
    rows += score_goals(Runs(runs), 1, (SCORE_CPU, SCORE_RATE)) + score_goals(Runs(runs), 2, (None, None))
    return f"{ABOUT_GOALS}\n\n{goals(rows)}"


def rates(figures: Figures) -> str:
    head = ["network", "rows a call", "bare, rows/s", "pipeline, rows/s", "of bare"]
    return table(head, [row for network in figures.networks for row in network_rates(figures, network)])


def network_rates(figures: Figures, network: str) -> list[list[str]]:
    own = figures.own(network)
    of = lambda what, rows: figures.of("rows_per_s", network, what, rows)
    rows = []
    for size in sorted(figures.sizes(network, "bare", "pipeline")):
        bare, ours = of("bare", size), of("pipeline", size)
        rows.append([network, f"**{size}**" if size == own else str(size), *compared(bare, ours)])
        if size == own:
            rows.append([network, f"{size}, on one core", *compared(bare, of("one core", size))])
    return rows


def compared(bare: list[float], ours: list[float]) -> list[str]:
    of_bare = ratios(ours, bare)
    return [shown(bare), shown(ours), f"{statistics.median(of_bare):.2f}" if of_bare else ""]


def shown(values: list[float], places: int = 0) -> str:
    return f"{statistics.median(values):,.{places}f}" if values else ""


def delays(figures: Figures) -> str:
    head = ["network", "p50 ms", "p99 ms", "p50 ms where nothing scores", "p99 ms where nothing scores"]
    keys = ("p50_ms", "p99_ms", "without_p50_ms", "without_p99_ms")
    of = lambda network: [shown(figures.of(key, network, "open loop"), 2) for key in keys]
    return table(head, [[network, *of(network)] for network in figures.networks])


def in_memory_goals(figures: Figures, network: str) -> list[list[str]]:
    own = figures.own(network)
    rate = lambda what, rows: figures.of("rows_per_s", network, what, rows)
    delay = lambda key: figures.of(key, network, "open loop")
    ours, single = rate("pipeline", own), rate("pipeline", 1)
    added = [a - b for a, b in zip(delay("p99_ms"), delay("without_p99_ms"))]
    return [
        row(f"{network}: pipeline of bare `SessionRun`", OF_BARE, ratios(ours, rate("bare", own))),
        row(f"{network}: added at p99, 5,000 rows a second on one core, ms", DELAY_MS, added, 1),
        row(f"{network}: pipeline of itself with one row a call", OF_SINGLE, ratios(ours, single), 1),
    ]


def score_goals(runs: Runs, workers: int, aims: tuple[Goal | None, Goal | None]) -> list[list[str]]:
    of = lambda key, peer: runs.figures(key, "score", peer, "at_least_once", workers)
    against = lambda key: ratios(of(key, "tideflow"), of(key, "kstreams"))
    what = f"`score`, {workers} worker{'s' * (workers > 1)}, against Kafka Streams with ONNX Runtime:"
    return [
        row(f"{what} CPU a record", aims[0], against("cpu_s_per_million")),
        row(f"{what} records a second", aims[1], against("events_per_s")),
    ]
