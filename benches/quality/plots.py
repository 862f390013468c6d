"""The plots of the report: small pictures of every file, so that a failure can be seen."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from PIL import Image

from . import engines, nab, skab

LEARNT, LABEL, ALARM, LINE, FOUND = "#8fbf8f", "#d62728", "#ff9500", "#24527a", "#2ca02c"
DPI = 90


def small_multiples(count: int, columns: int, size: tuple[float, float]):
    """A figure with that many axes, and a list of them."""
    rows = -(-count // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(size[0] * columns, size[1] * rows + 0.6), squeeze=False, layout="constrained"
    )
    for spare in axes.flat[count:]:
        spare.set_visible(False)
    return figure, list(axes.flat[:count])


def save(figure, file: Path) -> None:
    """With 256 colours, which such lines and areas do with: half the size."""
    figure.savefig(file, dpi=DPI)
    plt.close(figure)
    with Image.open(file) as image:
        image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(file, optimize=True)


def stretches(flags: list[bool]) -> list[tuple[int, int]]:
    """First and last of each run of true."""
    padded = np.diff(np.array([False, *flags, False]).astype(int))
    return list(zip(np.flatnonzero(padded == 1), np.flatnonzero(padded == -1) - 1))


def draw_pumps(files: list[skab.Judged], file: Path) -> None:
    figure, axes = small_multiples(len(files), 2, (5.6, 1.35))
    for axis, each in zip(axes, files):
        axis.axvspan(0, skab.CALIBRATION, color=LEARNT, alpha=0.35, lw=0)
        for first, last in stretches(each.truth):
            axis.axvspan(first - 0.5, last + 0.5, color=LABEL, alpha=0.2, lw=0)
        for first, last in stretches(each.alarms):
            axis.axvspan(first - 0.5, last + 0.5, ymin=0, ymax=0.1, color=ALARM, lw=0)
        rows = range(skab.CALIBRATION, len(each.scores))
        axis.plot(rows, each.scores[skab.CALIBRATION :], color=LINE, lw=0.8)
        axis.axhline(0.5, color="grey", lw=0.8, ls="--")
        found = each.confusion
        far, mar = (f"{100 * x:.0f} %" if x is not None else "–" for x in (found.far, found.mar))
        f1 = f"{found.f1:.2f}" if found.f1 is not None else "–"
        axis.set_title(f"{each.name}: F1 {f1}, false {far}, missed {mar}", fontsize=9, loc="left")
        axis.set_ylim(-0.12, 1)
        axis.set_xlim(0, len(each.scores))
        axis.set_yticks([0, 0.5, 1])
        axis.tick_params(labelsize=7)
    legend(
        figure,
        [
            Patch(color=LEARNT, alpha=0.5, label="calibrates, not counted"),
            Patch(color=LABEL, alpha=0.3, label="anomalous by the labels"),
            Patch(color=ALARM, label="alarm"),
            Line2D([], [], color=LINE, label="score (alarm above 0.5), by row"),
        ],
    )
    save(figure, file)


def draw_series(files: list[nab.Judged], file: Path) -> None:
    figure, axes = small_multiples(len(files), 3, (4.2, 1.45))
    for axis, each in zip(axes, files):
        values = np.array(each.values)
        axis.axvspan(0, each.probation, color="grey", alpha=0.2, lw=0)
        for first, last in each.windows:
            axis.axvspan(first, last, color=LABEL, alpha=0.25, lw=0)
        axis.plot(values, color=LINE, lw=0.5)
        low, high = values.min(), values.max()
        height = (high - low) or 1.0
        for row in each.detections:
            color = ALARM if each.window_of(row) is None else FOUND
            axis.axvline(row, ymin=0.86, color=color, lw=1.4)
        axis.set_ylim(low - 0.06 * height, high + 0.26 * height)
        axis.set_xlim(0, len(values))
        name = Path(each.name).stem
        windows = f"{each.found} of {len(each.windows)} found" if each.windows else "no windows"
        said = f"{windows}, {len(each.false)} false"
        axis.set_title(f"{name}\n{said}", fontsize=8, loc="left")
        axis.tick_params(labelsize=6)
    legend(
        figure,
        [
            Patch(color="grey", alpha=0.3, label="not scored"),
            Patch(color=LABEL, alpha=0.3, label="window of an anomaly"),
            Line2D([], [], color=FOUND, lw=2, label="detection in a window"),
            Line2D([], [], color=ALARM, lw=2, label="false detection"),
            Line2D([], [], color=LINE, label="value, by row"),
        ],
    )
    save(figure, file)


def draw_cuts(found: engines.Validation, file: Path) -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.6), layout="constrained")
    colors = plt.get_cmap("viridis")(np.linspace(0, 0.9, len(found.seeds)))
    for seed, (cuts, color) in enumerate(zip(found.seeds, colors)):
        truth = [cut.left for cut in cuts]
        left.scatter(truth, [cut.predicted for cut in cuts], s=9, color=color, label=f"seed {seed}")
        right.scatter(truth, [cut.predicted - cut.left for cut in cuts], s=9, color=color)
    left.plot([0, 145], [0, 145], color="grey", lw=0.9)
    left.axhline(125, color="grey", lw=0.8, ls="--")
    left.set_ylabel("cycles predicted (at most 125)")
    left.legend(fontsize=8, loc="lower right")
    right.axhline(0, color="grey", lw=0.9)
    right.set_ylabel("predicted less true")
    for axis in (left, right):
        axis.set_xlabel("cycles left in truth")
    left.set_title(f"held-out engines, RMSE {found.median:.2f} (median of seeds)", fontsize=10)
    right.set_title("errors", fontsize=10)
    save(figure, file)


def draw_lives(found: engines.Validation, file: Path) -> None:
    figure, axes = small_multiples(len(found.lives), 3, (3.6, 2.4))
    for axis, (unit, cuts) in zip(axes, found.lives.items()):
        life = max(cut.left for cut in cuts) + 1
        ordered = sorted(cuts, key=lambda cut: -cut.left)
        seen = [life - cut.left for cut in ordered]
        axis.plot(seen, [min(cut.left, 125) for cut in ordered], color="grey", lw=1.2, ls="--")
        axis.plot(seen, [cut.left for cut in ordered], color="grey", lw=0.8, alpha=0.6)
        axis.plot(seen, [cut.predicted for cut in ordered], color=LINE, lw=1.4)
        axis.axvspan(0, engines.SEEN_MIN, color="grey", alpha=0.15, lw=0)
        axis.set_ylim(0, 160)
        axis.set_xlim(0, life)
        axis.set_title(f"unit {unit}", fontsize=9, loc="left")
        axis.tick_params(labelsize=7)
        axis.set_xlabel("cycle", fontsize=8)
        axis.set_ylabel("cycles left", fontsize=8)
    legend(
        figure,
        [
            Line2D([], [], color=LINE, label="predicted"),
            Line2D([], [], color="grey", label="true"),
            Line2D([], [], color="grey", ls="--", label="true, at most 125"),
            Patch(color="grey", alpha=0.25, label="before any cut of the table"),
        ],
    )
    save(figure, file)


def legend(figure, handles) -> None:
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8, frameon=False)
