"""Plots of a run: functions that draw on a matplotlib Axes, called only where they are kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tideflow_training.recipe import Plot

BINS = 50


def curves(of: dict[str, list[float]]) -> Plot:
    """Losses by epoch, a line each."""

    def draw(axes) -> None:
        for name, losses in of.items():
            # One epoch alone would be a line of no length.
            marker = "o" if len(losses) == 1 else None
            axes.plot(np.arange(1, len(losses) + 1), losses, label=name, marker=marker)
        axes.set(xlabel="epoch", ylabel="loss", yscale="log")
        axes.legend()

    return draw


def histogram(of: dict[str, np.ndarray], what: str) -> Plot:
    """How often each value of `what` comes, by group; counts on a logarithmic axis."""

    def draw(axes) -> None:
        values = np.concatenate(list(of.values()))
        edges = np.histogram_bin_edges(values, BINS)
        for name, group in of.items():
            axes.hist(group, edges, label=name, alpha=0.6)
        axes.set(xlabel=what, ylabel="rows", yscale="log")
        axes.legend()

    return draw


def roc(negative: np.ndarray, positive: np.ndarray) -> Plot:
    """The share of `positive` scores above a threshold against that of `negative` ones."""

    def draw(axes) -> None:
        thresholds = np.unique(np.concatenate([negative, positive]))
        shares = [
            1.0 - np.searchsorted(np.sort(scores), thresholds, side="left") / len(scores)
            for scores in (negative, positive)
        ]
        axes.plot([*shares[0], 0.0], [*shares[1], 0.0])
        axes.plot([0, 1], [0, 1], linestyle=":", color="grey")
        axes.set(xlabel="false positive rate", ylabel="true positive rate")

    return draw


def residuals(truth: np.ndarray, found: np.ndarray, what: str) -> Plot:
    """How far off each prediction is, by what is true."""

    def draw(axes) -> None:
        axes.scatter(truth, found - truth, s=4, alpha=0.5)
        axes.axhline(0.0, linestyle=":", color="grey")
        axes.set(xlabel=what, ylabel=f"{what} found - {what}")

    return draw


def save(plots: dict[str, Plot], folder: Path) -> None:
    """Draws each into `folder` as NAME.png."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    for name, draw in plots.items():
        figure = Figure(figsize=(7, 4.5), layout="constrained")
        # One of our own: pyplot would keep every figure, and look for a screen.
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        axes.set_title(name)
        draw(axes)
        figure.savefig(folder / f"{name}.png", dpi=120)
