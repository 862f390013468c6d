"""The series model: autoencoders for one recorded machine, from the start of its recording.

A recording has no other machines to compare with and few windows that are known to be healthy.
So several small autoencoders are trained, each without one fifth of the recording; the windows of
that fifth calibrate, by their distance from this one member, and the model takes the mean of all
members. No window calibrates what it trained. A fifth is one piece of time: neighbours are alike,
and a window between two that were learnt from would look more usual than any later one.

So the shares in `KNOTS` are what is expected of a single member on windows like those it learnt
from. The mean of five spreads no more than one; a machine that changes its ways exceeds them.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np

from tideflow_training.alarms import CLEAR_BELOW, RAISE_ABOVE
from tideflow_training.detector import Detector, Settings, calibrate, run, train_member
from tideflow_training.evaluate import FILES, evaluate_files
from tideflow_training.recipe import Evaluation, EvaluationSet, Recipe, Trained
from tideflow_training.recipes.health import TooFewWindowsError
from tideflow_training.saved_model import Loaded
from tideflow_training.windows import Windows, WindowsFileError, read_windows

WINDOWS_MIN = 20
FOLDS = 5

# Seeds of numpy and Keras end here.
SEEDS = 2**32

# One machine has few windows, so one healthy window in 1,000 may exceed 0.9.
KNOTS = ((0.5, 0.2), (0.98, CLEAR_BELOW), (0.999, RAISE_ABOVE))

# Smaller and shorter than for a fleet: some ten windows to a hundred are soon learnt by heart.
HIDDEN = 12
STEPS = 500


def windows_until(windows: Windows, until_ms: int | None) -> Windows:
    """The windows that end at or before `until_ms`, or all of them."""
    return windows if until_ms is None else windows.where(windows.end_ms <= until_ms)


def train_series(windows: Windows, settings: Settings, until_ms: int | None = None) -> Detector:
    """Trains on `windows_until(windows, until_ms)`."""
    windows = windows_until(windows, until_ms)
    if len(windows) < WINDOWS_MIN:
        before = "" if until_ms is None else f" that end by {until_ms}"
        raise TooFewWindowsError(
            f"{len(windows)} windows{before}, expected at least {WINDOWS_MIN} to train on"
        )
    features = windows.features[np.argsort(windows.start_ms, kind="stable")]
    fold_of = np.arange(len(features)) * FOLDS // len(features)
    members, held_out = [], []
    for fold in range(FOLDS):
        out = fold_of == fold
        seed = (settings.seed * FOLDS + fold) % SEEDS
        member = train_member(features[~out], replace(settings, seed=seed))
        members.append(member)
        held_out.append(run(member.distance, features[out])[:, 0])
    detector = calibrate(members, np.concatenate(held_out), KNOTS)
    losses = [member.metrics["train_loss"] for member in members]
    score = detector.score(features)
    metrics = {
        "train_windows": float(len(windows)),
        "members": float(FOLDS),
        "epochs": members[0].metrics["epochs"],
        "train_loss": float(np.mean(losses)),
        **detector.metrics,
        "train_share_above_raise": float(np.mean(score > RAISE_ABOVE)),
        "train_share_above_clear": float(np.mean(score >= CLEAR_BELOW)),
    }
    curves = {
        f"{name}_of_{fold + 1}": losses
        for fold, member in enumerate(members)
        for name, losses in member.curves.items()
    }
    return replace(detector, metrics=metrics, curves=curves)


class Series(Recipe):
    """The recipe; what it does is above."""

    name = "series"
    about = "Five small autoencoders for one recorded machine, averaged: how unusual is a window?"
    reads = "windows of one machine, JSON lines"
    needs_data = True
    evaluation_keys = (FILES,)

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--until",
            type=int,
            metavar="MS",
            help="train only on windows that end at or before this time, ms since the epoch",
        )
        parser.add_argument(
            "--unit",
            action="append",
            default=[],
            metavar="FIELD=UNIT",
            help="a field's unit for the manifest; may be given for each field",
        )

    def train(self, options: argparse.Namespace) -> Trained:
        windows = read_windows(options.data)
        units = dict(pair.partition("=")[::2] for pair in options.unit)
        unknown = sorted(set(units) - set(windows.fields))
        if unknown:
            known = ", ".join(windows.fields)
            raise WindowsFileError(options.data, None, f"no field `{unknown[0]}`, only {known}")
        settings = Settings(seed=options.seed, epochs=options.epochs, hidden=HIDDEN, steps=STEPS)
        detector = train_series(windows, settings, options.until)
        windows = windows_until(windows, options.until)
        return detector.trained(windows, units, windows.digest, settings)

    def evaluate(self, model: Loaded, wanted: EvaluationSet) -> Evaluation:
        return evaluate_files(model, wanted)


RECIPE = Series()
