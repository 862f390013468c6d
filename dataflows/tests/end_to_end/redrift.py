"""Compares two models in Python, and holds a replay's report to it: `redrift.py PUBLISHED REPLAYED WINDOWS
SCORES ALARMS REPLAYED_SCORES REPLAYED_ALARMS REPORT DIFFERENCES CHANGES FROM TO`.

The first two are the `.keras` files of the models. WINDOWS, SCORES and ALARMS hold what was published, a record
a line with the value as text; the next two what was replayed. Differences of scores are recomputed from the
windows, with both models; alarms from the scores of each side.
"""

import collections
import csv
import json
import sys

import keras
import numpy as np

FIELDS = ("temperature", "vibration", "current")
STATISTICS = ("mean", "std", "min", "max")
RAISE_ABOVE, CLEAR_BELOW, WINDOWS_MIN = 0.23, 0.225, 2


def published(path):
    return [json.loads(json.loads(line)["value"]) for line in open(path)]


def replayed(path):
    return [json.loads(line)["value"] for line in open(path)]


def of_windows(model, windows):
    rows = [[window[f][s] for f in FIELDS for s in STATISTICS] for window in windows]
    said = keras.models.load_model(model).predict(np.array(rows, np.float32), batch_size=4096, verbose=0)
    return np.array(said["score"][:, 0], np.float64)


def episodes(scores, begin, end):
    """Each device's alarms as lists of raised and cleared, of its scores from `begin` on."""
    devices = collections.defaultdict(list)
    for score in sorted(scores, key=lambda score: score["window_start"]):
        if score["window_start"] >= begin and score["window_end"] <= end:
            devices[score["device"]].append((score["window_start"], score["score"]))
    found = {}
    for device, series in devices.items():
        above, spans = 0, []
        for start, score in series:
            standing = bool(spans) and spans[-1][1] is None
            above = above + 1 if score > RAISE_ABOVE else 0
            if not standing and above >= WINDOWS_MIN:
                spans.append([start, None])
            elif standing and score < CLEAR_BELOW:
                spans[-1][1] = start
        found[device] = spans
    return found


def stood_together(a, b):
    last = 1 << 62
    return a[0] < (b[1] or last) and b[0] < (a[1] or last)


def alarms_of(ours, theirs, begin):
    """How many alarms are new, gone, moved, unchanged; and the changed ones by device."""
    counts, changed = collections.Counter(), collections.Counter()
    for device in ours.keys() | theirs.keys():
        before = [list(span) for span in ours.get(device, []) if span[1] is None or span[1] >= begin]
        after = [list(span) for span in theirs.get(device, [])]
        while before or after:
            if before and after and stood_together(before[0], after[0]):
                a, b = before.pop(0), after.pop(0)
                if a[0] < begin:
                    kind = "before_and_again" if a[1] == b[1] else "moved"
                else:
                    kind = "unchanged" if a == b else "moved"
            elif before and (not after or before[0][0] <= after[0][0]):
                kind = "before_and_not_again" if before.pop(0)[0] < begin else "gone"
            else:
                after.pop(0)
                kind = "new"
            counts[kind] += 1
            changed[device] += kind in ("new", "gone", "moved")
    return counts, {device: count for device, count in changed.items() if count}


def compare_scores(report, rows, windows, ours, theirs):
    expected = {(w["device"], w["window_start"]): (a, b) for w, a, b in zip(windows, ours, theirs)}
    assert report["compared"] == len(expected) == len(rows), (report["compared"], len(expected))
    apart = 0.0
    for row in rows:
        a, b = expected[row["device"], int(row["window_start"])]
        apart = max(apart, abs(float(row["published"]) - a), abs(float(row["replayed"]) - b))
        assert float(row["difference"]) == float(row["replayed"]) - float(row["published"]), row
    assert apart < 1e-5, apart
    found, differences = report["difference"], theirs - ours
    assert np.max(np.abs(differences)) > 0.1, "a model that says the same would prove nothing"
    for name, value in [
        ("mean", np.mean(differences)),
        ("mean_abs", np.mean(np.abs(differences))),
        ("max_abs", np.max(np.abs(differences))),
    ]:
        assert abs(found[name] - value) < 1e-5, (name, found[name], value)
    for share in (50, 95, 99):
        value = np.percentile(np.abs(differences), share, method="inverted_cdf")
        assert abs(found[f"p{share}_abs"] - value) < 0.004 * value + 1e-5, (share, found, value)
    edges = np.unique(np.percentile(ours, range(10, 100, 10), method="inverted_cdf"))
    bins = [-np.inf, *(edges + 1e-7), np.inf]
    shares = [np.maximum(np.histogram(s, bins)[0] / len(s), 1e-4) for s in (ours, theirs)]
    psi = float(np.sum((shares[1] - shares[0]) * np.log(shares[1] / shares[0])))
    # The report's tenths lie at steps of 0.4 %.
    assert abs(report["psi"] - psi) < 0.1 * psi + 0.02, (report["psi"], psi)
    return {"windows": len(rows), "apart_max": apart, "psi": psi}


def main(published_by, replayed_by, windows, scores, alarms, scores_again, alarms_again, *rest):
    report, differences, changes, begin, end = rest
    begin, end = int(begin), int(end)
    report = json.load(open(report))
    assert (report["from"], report["to"], report["reached"]) == (begin, end, end), report
    within = [w for w in published(windows) if w["window_start"] >= begin and w["window_end"] <= end]
    ours, theirs = of_windows(published_by, within), of_windows(replayed_by, within)
    comparison = report["comparison"]
    rows = list(csv.DictReader(open(differences)))
    figures = compare_scores(comparison["scores"], rows, within, ours, theirs)

    first = begin - begin % 60000
    ours = episodes(published(scores), 0, end)
    theirs = episodes(replayed(scores_again), first, end)
    counts, changed = alarms_of(ours, theirs, begin)
    kinds = ("new", "gone", "moved", "unchanged", "before_and_again", "before_and_not_again")
    found = {kind: comparison["alarms"][kind] for kind in kinds}
    assert found == {kind: counts[kind] for kind in kinds}, (found, counts)
    assert counts["new"] and counts["gone"], counts
    rows = collections.Counter(row["device"] for row in csv.DictReader(open(changes)))
    assert rows == changed, (rows, changed)
    order = [d["new"] + d["gone"] + d["moved"] for d in comparison["alarms"]["devices"]]
    assert order == sorted(changed.values(), reverse=True)[: len(order)] and order, order
    print(json.dumps({**figures, **found}))


main(*sys.argv[1:])
