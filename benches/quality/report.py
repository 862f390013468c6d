"""The report: figures against the goals, a table for each file, and the plots."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field

from . import engines, nab, skab

# What is aimed at; shares are of rows.
F1_MIN, FAR_MAX, MAR_MAX = 0.80, 0.15, 0.25
NAB_MIN, NAB_STRETCH = 55.0, 65.0
RMSE_MAX = 14.0

STANDARD = "standard"


@dataclass
class Results:
    """What was found of each part that was there."""

    skab: list[skab.Judged] = field(default_factory=list)
    # The same files, each with a model of its own.
    skab_alone: list[skab.Judged] = field(default_factory=list)
    nab: list[nab.Judged] = field(default_factory=list)
    profiles: dict[str, nab.Costs] = field(default_factory=dict)
    cmapss: engines.Validation | None = None
    # What the program said of a part, and how long it took.
    runs: dict[str, tuple[str, float]] = field(default_factory=dict)
    # Files that were not the same with more workers.
    differ: dict[str, list[str]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


def report(title: str, about: list[str], results: Results, plots: str) -> str:
    parts = [f"# {title}", "\n".join(f"- {line}" for line in about), goals(results)]
    parts += [f"Left out: {line}." for line in results.left_out]
    if results.skab:
        parts.append(pumps(results, plots))
    if results.nab:
        parts.append(series(results, plots))
    if results.cmapss:
        parts.append(turbofans(results.cmapss, plots))
    if results.differ:
        parts.append(workers(results.differ))
    return "\n\n".join(parts) + "\n"


def table(head: list[str], rows: Iterable[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def decimals(value: float | None, places: int = 2) -> str:
    return "–" if value is None else f"{value:.{places}f}"


def percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def met(reached: bool) -> str:
    return "yes" if reached else "**no**"


def goals(results: Results) -> str:
    rows = []
    for files, how in ((results.skab_alone, "each file alone"), (results.skab, "one model for all files")):
        if files:
            rows += pump_goals(skab.pooled(files), how)
    if results.nab:
        found = nab.score(results.nab, results.profiles[STANDARD])
        for what, least in (("NAB, standard profile", NAB_MIN), ("the same, stretch", NAB_STRETCH)):
            rows.append([what, f"at least {least:.0f}", decimals(found, 1), met(found >= least)])
    if results.cmapss:
        errors = results.cmapss.errors
        found = f"{results.cmapss.median:.2f} ({min(errors):.2f} to {max(errors):.2f})"
        what = f"C-MAPSS FD001, RMSE in cycles, median of {len(errors)} seeds"
        rows.append([what, f"at most {RMSE_MAX:.1f}", found, met(results.cmapss.median <= RMSE_MAX)])
    return "## Against the goals\n\n" + table(["what", "goal", "found", "met"], rows) + "\n\n" + TUNED


TUNED = (
    "**How much this says.** The settings of `detect` were chosen on these recordings of SKAB and NAB, so on "
    "others it may do worse. The engines of C-MAPSS were held out from training, but the shape of the model was "
    "chosen by such a cross-validation too."
)


def pump_goals(found: skab.Confusion, how: str) -> list[list[str]]:
    # Where there are no rows of a kind, there is nothing to meet a goal with.
    within = lambda value, limit: met(value is not None and value <= limit)
    found_f1 = met(found.f1 is not None and found.f1 >= F1_MIN)
    far, mar = (f"at most {percent(limit)}" for limit in (FAR_MAX, MAR_MAX))
    return [
        [f"SKAB, {how}: F1", f"at least {F1_MIN:.2f}", decimals(found.f1, 3), found_f1],
        [f"SKAB, {how}: false alarms (FAR)", far, percent(found.far), within(found.far, FAR_MAX)],
        [f"SKAB, {how}: missed (MAR)", mar, percent(found.mar), within(found.mar, MAR_MAX)],
    ]


def ran(results: Results, name: str) -> str:
    said, seconds = results.runs[name]
    return f"The program said: {said}; {seconds:.0f} s with training."


def pumps(results: Results, plots: str) -> str:
    confusion_of = {
        "each file alone": skab.pooled(results.skab_alone),
        "one model for all files": skab.pooled(results.skab),
        "every row flagged, for comparison": sum(
            (each.everything_flagged for each in results.skab), skab.Confusion()
        ),
    }
    head = ["TP", "FP", "FN", "TN", "F1", "FAR", "MAR"]
    alone = {each.name: each.confusion for each in results.skab_alone}
    files = [
        [
            each.name,
            str(len(each.truth) - skab.CALIBRATION),
            *counts(each.confusion),
            decimals(alone[each.name].f1, 3),
            str(sum(each.truth[: skab.CALIBRATION])),
        ]
        for each in results.skab
    ]
    return "\n\n".join(
        [
            "## SKAB, group `other`",
            f"The first {skab.CALIBRATION} rows of a file calibrate and are not counted; each later row is "
            "anomalous or not, and is judged without a look at later ones. Counts are summed over all files, with "
            "no adjustment of neighbours. The published rules look at each file alone; `detect` given the whole "
            f"folder makes one model of the first {skab.CALIBRATION} rows of all files, without labels, and "
            "standardises each file by its own.",
            table(["how", *head], [[how, *counts(found)] for how, found in confusion_of.items()]),
            ran(results, "skab") + " By file, one model for all; F1 alone is with a model of its own:",
            table(["file", "rows", *head, "F1 alone", "anomalous calibration rows"], files),
            f"![Scores, alarms and labels of each file]({plots}/skab.png)",
        ]
    )


def counts(found: skab.Confusion) -> list[str]:
    numbers = [str(number) for number in (found.tp, found.fp, found.fn, found.tn)]
    return [*numbers, decimals(found.f1, 3), percent(found.far), percent(found.mar)]


def series(results: Results, plots: str) -> str:
    costs = results.profiles[STANDARD]
    files = [
        [
            each.name,
            str(len(each.values)),
            f"{each.found} of {len(each.windows)}",
            str(len(each.false)),
            decimals(each.raw(costs)),
        ]
        for each in results.nab
    ]
    found, windows = (sum(n) for n in zip(*((each.found, len(each.windows)) for each in results.nab)))
    false = sum(len(each.false) for each in results.nab)
    raw = sum(each.raw(costs) for each in results.nab)
    rows = str(sum(len(each.values) for each in results.nab))
    profiles = [
        [f"`{name}`", decimals(nab.score(results.nab, each), 1)]
        for name, each in results.profiles.items()
    ]
    total = ["all", rows, f"{found} of {windows}", str(false), decimals(raw)]
    return "\n\n".join(
        [
            "## NAB",
            f"{len(results.nab)} series. 0 is to detect nothing, 100 to detect the first row of each window and "
            f"no other. One threshold, {nab.THRESHOLD}, for all series and profiles, fixed beforehand: NAB's own "
            "runner looks for the best. Published figures are of all 58 files, and do not compare with these.",
            table(["profile", "score"], profiles),
            ran(results, "nab") + " By series, with what its detections are worth in the standard profile, at best "
            "the number of its windows:",
            table(["series", "rows", "windows found", "false detections", "worth"], [*files, total]),
            f"![Each series with its windows and detections]({plots}/nab.png)",
        ]
    )


def turbofans(found: engines.Validation, plots: str) -> str:
    near = lambda cuts: [cut for cut in cuts if cut.left <= 125]
    far = lambda cuts: [cut for cut in cuts if cut.left > 125]
    error = lambda cuts: decimals(engines.rmse(cuts) if cuts else None)
    bias = lambda cuts: f"{statistics.fmean(cut.predicted - cut.left for cut in cuts):+.2f}"
    rows = [
        [str(seed), str(len(cuts)), error(cuts), error(near(cuts)), error(far(cuts)), bias(cuts), error(more)]
        for seed, (cuts, more) in enumerate(zip(found.seeds, found.more))
    ]
    others = f"RMSE of {engines.MORE_CUTS} more cuts an engine"
    spread = statistics.pstdev(cut.left for cut in found.cuts)
    worst = max(found.cuts, key=lambda cut: abs(cut.predicted - cut.left))
    return "\n\n".join(
        [
            "## C-MAPSS FD001",
            f"Cross-validation over the engines of `train_FD001.txt`: {engines.FOLDS} folds, {len(found.seeds)} "
            f"seeds. Each engine is held out once a seed, and cut at a random cycle with {engines.LEFT_MIN} to "
            f"{engines.LEFT_MAX} cycles left and at least {engines.SEEN_MIN} seen; `detect` learns from the whole "
            "lives of the other folds and predicts what is left at the cut. The error is against the truth, which "
            "is not capped, while predictions are at most 125. **Seeds vary the folds and the cuts, not the "
            "training**: `detect` offers no seed of it.",
            table(["seed", "engines", "RMSE", "up to 125 left", "more left", "mean error", others], rows),
            f"Median {found.median:.2f}. To predict the mean of all cuts, {spread:.1f} would be the error. The "
            f"worst is unit {worst.unit}: {worst.left} cycles left, {worst.predicted:.0f} predicted.",
            f"![Predicted and true remaining life]({plots}/cmapss.png)",
            "Engines of the first fold, from the shortest life to the longest, judged at every "
            f"{engines.LIFE_STEP}th cycle by a model that has not seen them:",
            f"![Predictions over the lives of engines]({plots}/cmapss-lives.png)",
        ]
    )


def workers(differ: dict[str, list[str]]) -> str:
    lines = []
    for name, files in differ.items():
        same = "the same files byte for byte" if not files else "**not the same**: " + ", ".join(files)
        lines.append(f"- {name}: {same}")
    how = "`detect --workers 1`, `2` and `3`, each with its training:"
    return "\n\n".join(["## One, two and three workers", how, "\n".join(lines)])
