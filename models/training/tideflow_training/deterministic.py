"""Training that gives the same weights again: one thread, and seeds for all that is random."""

from __future__ import annotations

import keras
import tensorflow as tf

THREAD_POOLS = ("intra_op", "inter_op")


class ThreadsError(RuntimeError):
    """TensorFlow has computed with threads of its own choice, and cannot change them any more."""


def _use_one_thread() -> None:
    """Sums in one order, and a machine that does other work too is not crowded."""
    for pool in THREAD_POOLS:
        if getattr(tf.config.threading, f"get_{pool}_parallelism_threads")() != 1:
            getattr(tf.config.threading, f"set_{pool}_parallelism_threads")(1)


# On import, because TensorFlow takes it only before it computes anything.
try:
    _use_one_thread()
except RuntimeError:
    # Whoever only scores can do without; training says so.
    pass


def make_deterministic(seed: int) -> None:
    """Two runs with one seed on one machine give the same weights, byte for byte."""
    try:
        _use_one_thread()
    except RuntimeError as error:
        raise ThreadsError(
            "TensorFlow computed something before `tideflow_training.deterministic` was imported: "
            "import it first, so that it trains with one thread"
        ) from error
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
