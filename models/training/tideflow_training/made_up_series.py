"""Series that nobody has measured, to learn from where there are no recordings: their true course
and the noise on it are known."""

from __future__ import annotations

import numpy as np

ROWS = 600


def make_series(random: np.random.Generator, rows: int = ROWS) -> tuple[np.ndarray, np.ndarray]:
    """The course of a series and the noise on it, [rows] each; the course varies by about 1.

    Waves, wandering, steps, pulses, spikes, or several of them; noise of 2 to 100 % of that.
    """
    course, kind = np.zeros(rows), random.integers(0, 7)
    if kind in (0, 1, 6):
        course += _waves(random, rows)
    if kind in (1, 2, 6):
        course += _wandering(random, rows)
    if kind in (3, 6):
        course += _steps(random, rows)
    if kind == 4:
        course += _pulses(random, rows)
    if kind == 5:
        course = _spikes(random, rows)
    course = course / max(course.std(), 1e-2)
    level = _log_uniform(random, 0.02, 1.0)
    noise = random.normal(0, level, rows)
    if random.random() < 0.3:
        # Skewed, as counts and delays are.
        noise = level * (random.gamma(1.0, 1.0, rows) - 1)
    if random.random() < 0.2:
        # A series that is never negative and the noisier the higher.
        growth = np.exp(0.6 * np.clip(course, -4, 4))
        course, noise = growth, noise * growth
    return course, noise


def _log_uniform(random: np.random.Generator, low: float, high: float) -> float:
    return np.exp(random.uniform(np.log(low), np.log(high)))


def _waves(random: np.random.Generator, rows: int) -> np.ndarray:
    """A period of 8 to 400 rows and up to three of its harmonics."""
    at, period, waves = np.arange(rows), _log_uniform(random, 8, 400), np.zeros(rows)
    for harmonic in range(1, random.integers(2, 5)):
        height, phase = random.normal() / harmonic, random.uniform(0, 6.28)
        waves += height * np.sin(2 * np.pi * harmonic * at / period + phase)
    return waves


def _wandering(random: np.random.Generator, rows: int) -> np.ndarray:
    """An autoregression of the first order."""
    kept = 1 - _log_uniform(random, 0.002, 0.3)
    pushes = random.normal(0, np.sqrt(1 - kept**2), rows)
    level, levels = random.normal(), np.empty(rows)
    for row, push in enumerate(pushes):
        level = kept * level + push
        levels[row] = level
    return levels * random.uniform(0.3, 1.5)


def _steps(random: np.random.Generator, rows: int) -> np.ndarray:
    count = random.integers(1, 20)
    at = np.sort(random.integers(0, rows, count))
    lengths = np.diff(np.concatenate([[0], at, [rows]]))
    return np.repeat(random.normal(0, 1, count + 1), lengths)


def _pulses(random: np.random.Generator, rows: int) -> np.ndarray:
    """Rectangular ones, each period the same."""
    period = random.integers(6, 200)
    width = max(1, int(period * random.uniform(0.05, 0.6)))
    height, offset = random.uniform(0.5, 3), random.integers(0, period)
    return height * (((np.arange(rows) + offset) % period) < width)


def _spikes(random: np.random.Generator, rows: int) -> np.ndarray:
    """Now and then one, of any height; half of the series with tails that die away."""
    there = random.random(rows) < _log_uniform(random, 0.01, 0.3)
    spikes = there * np.exp(random.normal(0, random.uniform(0.2, 1.2), rows))
    if random.random() < 0.5:
        spikes = np.convolve(spikes, np.exp(-np.arange(20) / random.uniform(1, 8)))[:rows]
    return spikes
