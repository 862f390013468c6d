"""Several small networks of one shape, side by side: their mean depends little on the seed."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import keras
import numpy as np
import tensorflow as tf
from keras import ops


class Ensemble(keras.layers.Layer):
    """Dense networks with tanh between the layers and none after the last.

    Input [rows, widths[0]] for all of them, or [members, rows, widths[0]] with rows of its own for
    each; output [members, rows, widths[-1]].
    """

    def __init__(self, members: int, widths: tuple[int, ...], *, seed: int, start: float = 0.0):
        """First weights are normal with variance 1 / inputs, from numpy's generator of `seed`;
        `start` is the first bias of the output."""
        super().__init__(name="ensemble")
        self.members = members
        random = np.random.default_rng(seed)
        self.kernels, self.biases = [], []
        for inputs, outputs in zip(widths[:-1], widths[1:]):
            shape = (members, inputs, outputs)
            kernel = random.standard_normal(shape) / np.sqrt(inputs)
            self.kernels.append(self._weight("kernel", kernel))
            self.biases.append(self._weight("bias", np.zeros((members, 1, outputs))))
        self.biases[-1].assign(self.biases[-1] + start)
        self.built = True

    def _weight(self, kind: str, values: np.ndarray) -> keras.Variable:
        weight = self.add_weight(shape=values.shape, name=f"{kind}_{len(self.kernels)}")
        weight.assign(values.astype(np.float32))
        return weight

    def call(self, rows):
        if len(rows.shape) == 2:
            rows = ops.tile(rows[None], [self.members, 1, 1])
        for kernel, bias in zip(self.kernels[:-1], self.biases[:-1]):
            rows = ops.tanh(ops.matmul(rows, kernel) + bias)
        return ops.matmul(rows, self.kernels[-1]) + self.biases[-1]


def fit_ensemble(
    ensemble: Ensemble,
    rows: np.ndarray,
    truth: np.ndarray,
    *,
    loss: Callable[[tf.Tensor], tf.Tensor],
    optimizer: keras.optimizers.Optimizer,
    draws: Iterable[np.ndarray],
) -> list[float]:
    """Trains on `rows` [rows, inputs] towards `truth` [rows, outputs]; the mean loss of each step.

    A step takes the rows that the next of `draws` numbers, [members, batch]. `loss` gives the loss
    of each error [members, batch, outputs]; members do not see each other.
    """
    rows, truth = tf.constant(rows, tf.float32), tf.constant(truth, tf.float32)
    weights = ensemble.trainable_weights
    optimizer.build(weights)

    @tf.function
    def step(drawn):
        with tf.GradientTape() as tape:
            errors = ensemble(tf.gather(rows, drawn)) - tf.gather(truth, drawn)
            # The sum over members: each then learns as it would alone.
            total = tf.reduce_sum(tf.reduce_mean(loss(errors), axis=[1, 2]))
        gradients = tape.gradient(total, [weight.value for weight in weights])
        optimizer.apply_gradients(zip(gradients, weights))
        return total / ensemble.members

    return [float(step(tf.constant(drawn, tf.int32))) for drawn in draws]
