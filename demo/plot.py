"""Plots of the recordings that `demo real` has replayed: `plot.py FOLDER` makes a PNG of each JSON.

A plot shows the recorded values, the score of each window with both thresholds, the labelled
anomalies (red), the alarms (orange) and the part that the model has learnt from (green).
"""

import json
import math
import sys
from datetime import datetime, timezone
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.dates as dates
import matplotlib.pyplot as plt
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

HEALTHY, LABEL, ALARM, LINE = "#8fbf8f", "#d62728", "#ff9500", "#24527a"
RAISE, CLEAR = {"color": "grey", "lw": 0.9, "ls": "--"}, {"color": "grey", "lw": 0.9, "ls": ":"}
# Ticks: at years, months, days, hours, minutes, seconds; and at the first of each within the one before.
TICKS = ["%Y", "%b %Y", "%d %b", "%H:%M", "%H:%M", "%H:%M:%S"]
FIRST_TICKS = ["", "%b %Y", "%d %b", "%d %b", "%H:%M", "%H:%M"]


def time(ms):
    return datetime.fromtimestamp(ms / 1000, timezone.utc)


def day(ms):
    return dates.date2num(time(ms))


def days(rows):
    """The first and the last day, with the year that the ticks may leave out."""
    first, last = (f"{at.day} {at:%b %Y}" for at in (time(rows[0][0]), time(rows[-1][0])))
    return first if first == last else f"{first} to {last}"


def shade(axes, plot):
    axes.axvspan(day(plot["rows"][0][0]), day(plot["probation_end"]), color=HEALTHY, alpha=0.3, lw=0)
    for start, end in plot["labels"]:
        axes.axvspan(day(start), day(end), color=LABEL, alpha=0.18, lw=0)


def mark_alarms(axes, plot):
    for alarm in plot["alarms"]:
        axes.axvline(day(alarm["known"]), color=ALARM, lw=1.1)


def usual_step(rows):
    steps = sorted(after[0] - before[0] for before, after in zip(rows, rows[1:]))
    return max(steps[len(steps) // 2], 1)


def draw_field(axes, plot, index):
    name, unit = plot["fields"][index]
    rows, times, values = plot["rows"], [], []
    gap = 5 * usual_step(rows)
    for (ts, row), before in zip(rows, [rows[0], *rows]):
        if ts - before[0] > gap:
            times.append(day(ts))
            values.append(math.nan)
        times.append(day(ts))
        values.append(row[index])
    axes.plot(times, values, color=LINE, lw=0.6)
    axes.set_ylabel(f"{name}\n({unit})", fontsize=8)
    shade(axes, plot)
    mark_alarms(axes, plot)


def draw_score(axes, plot):
    times, scores, before = [], [], None
    for start, end, score in plot["scores"]:
        if before not in (None, start):
            times.append(day(start))
            scores.append(math.nan)
        times += [day(start), day(end)]
        scores += [score, score]
        before = end
    axes.plot(times, scores, color="black", lw=0.8)
    axes.axhline(plot["raise_above"], **RAISE)
    axes.axhline(plot["clear_below"], **CLEAR)
    axes.set_ylim(-0.02, 1.04)
    axes.set_ylabel("score", fontsize=8)
    shade(axes, plot)


def draw_alarms(axes, plot):
    for alarm in plot["alarms"]:
        axes.axvspan(day(alarm["from"]), day(alarm["to"]), color=ALARM, lw=0.8)
    axes.set_yticks([])
    axes.set_ylabel("alarm", fontsize=8, rotation=0, ha="right", va="center")
    shade(axes, plot)


def draw(plot, path):
    fields = len(plot["fields"])
    heights = [3 if fields == 1 else 1] * fields + [1.6, 0.35]
    figure, axes = plt.subplots(
        fields + 2,
        1,
        sharex=True,
        figsize=(14, 6 if fields == 1 else 14),
        height_ratios=heights,
        layout="constrained",
    )
    for index in range(fields):
        draw_field(axes[index], plot, index)
    draw_score(axes[fields], plot)
    draw_alarms(axes[fields + 1], plot)
    locator = dates.AutoDateLocator()
    axes[-1].xaxis.set_major_locator(locator)
    axes[-1].xaxis.set_major_formatter(
        dates.ConciseDateFormatter(
            locator, formats=TICKS, zero_formats=FIRST_TICKS, show_offset=False
        )
    )
    axes[-1].set_xlim(day(plot["rows"][0][0]), day(plot["rows"][-1][0]))
    legend = [
        Patch(color=HEALTHY, alpha=0.3, label="learnt from"),
        Patch(color=LABEL, alpha=0.18, label="labelled anomaly"),
        Patch(color=ALARM, label="alarm"),
        Line2D([], [], **RAISE, label=f"raised above {plot['raise_above']:g}"),
        Line2D([], [], **CLEAR, label=f"cleared below {plot['clear_below']:g}"),
    ]
    figure.legend(
        handles=legend, loc="outside upper right", ncols=len(legend), fontsize=8, frameon=False
    )
    title = f"{plot['name']}, {days(plot['rows'])}"
    figure.suptitle(title, fontsize=11, x=0.01, ha="left")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main():
    folder = Path(sys.argv[1])
    for source in sorted(folder.glob("*.json")):
        target = source.with_suffix(".png")
        draw(json.loads(source.read_text(encoding="utf-8")), target)
        print(f"plot        {target}")


if __name__ == "__main__":
    main()
