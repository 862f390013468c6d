"""A denoising autoencoder and what surrounds it, from healthy windows to one Keras model."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field

import keras
import numpy as np
import tensorflow as tf

from tideflow_training.alarms import CLEAR_BELOW, RAISE_ABOVE
from tideflow_training.deterministic import make_deterministic
from tideflow_training.layers import Distance, Score, Shape, Standardize
from tideflow_training.recipe import Feature, InputTensor, OutputTensor, Trained
from tideflow_training.windows import Windows, feature_names

# Windows a training step, and rows a call outside training.
BATCH = 256
ROWS = 8_192


@dataclass(frozen=True)
class Settings:
    """How an autoencoder is built and trained."""

    # Seed of the initial weights and of the order of windows.
    seed: int = 1
    # Width of the two hidden layers.
    hidden: int = 24
    # Width of the code, as a share of the columns, at least 1.
    code_share: float = 0.67
    # Noise on the inputs in training, in standard deviations of a column. It keeps the code from
    # bending around single windows, which would cost distance where there were none.
    noise: float = 0.5
    # Passes over the training windows; None takes as many as make `steps` steps.
    epochs: int | None = None
    # Steps of up to 256 windows.
    steps: int = 1_500
    learning_rate: float = 3e-3


@dataclass(frozen=True)
class Detector:
    """A calibrated model and what is known of it."""

    # features [windows, 4 * fields] float32 -> {"score": [windows, 1]}
    model: keras.Model
    # The same windows -> distance [windows, 1], before calibration.
    distance: keras.Model
    metrics: dict[str, float]
    # The loss of each epoch, by what it is of.
    curves: dict[str, list[float]] = field(default_factory=dict)

    def score(self, features: np.ndarray) -> np.ndarray:
        """Scores [windows] of features [windows, 4 * fields]."""
        return run(self.model, features)["score"][:, 0]

    def trained(
        self, windows: Windows, units: dict[str, str], data_digest: str, settings: Settings
    ) -> Trained:
        """What is exported; `windows` are those whose statistics it takes for usual."""
        features = tuple(
            Feature(name, units.get(name.rsplit(".", 1)[0], "unspecified"))
            for name in feature_names(windows.fields)
        )
        return Trained(
            model=self.model,
            inputs=(InputTensor("features", features),),
            outputs=(OutputTensor("score", ("score",)),),
            rows={"features": windows.features},
            data_digest=data_digest,
            parameters={name: x for name, x in asdict(settings).items() if x is not None},
            metrics=self.metrics,
            curves=self.curves,
            alarm=(RAISE_ABOVE, CLEAR_BELOW),
        )


@dataclass(frozen=True)
class Member:
    """One trained autoencoder with its scaling and its distance."""

    # features [windows, 4 * fields] float32 -> distance [windows, 1]
    distance: keras.Model
    metrics: dict[str, float]
    # The loss of each epoch, by what it is of.
    curves: dict[str, list[float]]


def train_member(
    train: np.ndarray, settings: Settings, validation: np.ndarray | None = None
) -> Member:
    """Trains an autoencoder on `train`, features [windows, 4 * fields] of healthy windows.

    With validation windows the epoch that is best on them is kept, without them the last.
    """
    make_deterministic(settings.seed)
    train = train.astype(np.float32)
    inputs = keras.Input((train.shape[1],), name="features", dtype="float32")
    shape = Shape(Shape.floor_of(train))
    standardize = Standardize.of(np.asarray(shape(train)))
    columns = standardize(shape(inputs))
    prepare = keras.Model(inputs, columns)
    autoencoder = _build(columns.shape[1], settings)
    metrics, curves = _fit(autoencoder, run(prepare, train), validation, prepare, settings)

    outputs = autoencoder(columns)
    code, reconstruction = outputs["code"], outputs["reconstruction"]
    parts = run(keras.Model(inputs, [columns, code, reconstruction]), train)
    distance = Distance.of(*parts)(columns, code, reconstruction)
    return Member(keras.Model(inputs, distance), metrics, curves)


def calibrate(
    members: list[Member], distance: np.ndarray, knots: tuple[tuple[float, float], ...]
) -> Detector:
    """The members' mean distance as a score; `distance` [windows] is that of healthy windows."""
    width = members[0].distance.input.shape[1]
    inputs = keras.Input((width,), name="features", dtype="float32")
    distances = [member.distance(inputs) for member in members]
    mean = keras.layers.Average()(distances) if len(distances) > 1 else distances[0]
    score = Score.of(distance, knots)
    model = keras.Model(inputs, {"score": score(mean)}, name="detector")
    metrics = {
        f"distance_at_{level:g}": float(at)
        for level, at in zip(score.scores[1:], score.distances[1:])
    }
    return Detector(model, keras.Model(inputs, mean), metrics)


def _build(columns: int, settings: Settings) -> keras.Model:
    code_width = max(1, round(columns * settings.code_share))
    inputs = keras.Input((columns,))
    noisy = keras.layers.GaussianNoise(settings.noise, seed=settings.seed)(inputs)
    # Every layer with weights has a name: those that Keras makes up count what the process made
    # before, and they are saved beside the weights.
    hidden = keras.layers.Dense(settings.hidden, "leaky_relu", name="encode")(noisy)
    # Linear and unbounded: a machine beyond its usual range must get a code beyond the usual ones.
    code = keras.layers.Dense(code_width, name="code")(hidden)
    hidden = keras.layers.Dense(settings.hidden, "leaky_relu", name="decode")(code)
    reconstruction = keras.layers.Dense(columns, name="reconstruction")(hidden)
    return keras.Model(inputs, {"code": code, "reconstruction": reconstruction}, name="autoencoder")


def _fit(
    autoencoder, columns, validation, prepare, settings
) -> tuple[dict[str, float], dict[str, list[float]]]:
    """Trains in place: metrics and curves.

    A loop of our own: `fit` brings tf.data, which is slower and talks.
    """
    batches = -(-len(columns) // BATCH)
    epochs = settings.epochs or -(-settings.steps // batches)
    decay = keras.optimizers.schedules.CosineDecay(settings.learning_rate, epochs * batches)
    optimizer = keras.optimizers.Adam(decay)
    optimizer.build(autoencoder.trainable_variables)

    @tf.function(input_signature=[tf.TensorSpec((None, columns.shape[1]), tf.float32)])
    def step(batch):
        with tf.GradientTape() as tape:
            error = autoencoder(batch, training=True)["reconstruction"] - batch
            loss = tf.reduce_mean(tf.square(error))
        gradients = tape.gradient(loss, autoencoder.trainable_variables)
        optimizer.apply(gradients, autoencoder.trainable_variables)
        return loss

    held_out = None if validation is None else run(prepare, validation)
    random = np.random.default_rng(settings.seed)
    best, kept = math.inf, None
    curves = {"train_loss": []}
    for _ in range(epochs):
        order = random.permutation(len(columns))
        losses = [step(columns[order[i : i + BATCH]]) for i in range(0, len(order), BATCH)]
        curves["train_loss"].append(float(np.mean(losses)))
        if held_out is not None:
            error = run(autoencoder, held_out)["reconstruction"] - held_out
            loss = float(np.mean(np.square(error)))
            curves.setdefault("validation_loss", []).append(loss)
            if loss < best:
                best, kept = loss, autoencoder.get_weights()
    metrics = {"epochs": float(epochs), "train_loss": curves["train_loss"][-1]}
    if kept is not None:
        autoencoder.set_weights(kept)
        metrics["validation_loss"] = best
    return metrics, curves


def run(model: keras.Model, features: np.ndarray):
    """What `model` makes of many rows, without the machinery of `predict`."""
    features = features.astype(np.float32)
    parts = [
        model(features[start : start + ROWS], training=False)
        for start in range(0, len(features), ROWS)
    ]
    return tf.nest.map_structure(lambda *rows: np.concatenate(rows), *parts)
