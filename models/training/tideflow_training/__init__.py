"""Trains anomaly models on window statistics and exports them as TensorFlow SavedModels.

A model is one autoencoder with everything around it that turns raw window statistics into an
anomaly score between 0 and 1: scaling, distance and calibration all live in the SavedModel, so
that whoever calls it gives numbers in their own units and nothing else.

Entry points: `python -m tideflow_training health | series | evaluate | generate`.
"""

import os

# oneDNN picks its sums by the machine; without it a model depends less on where it was trained.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
# TensorFlow tells every start about its build; warnings and errors still come through.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
