"""A wider network on twenty random features, with dropout; random labels: nothing to learn."""

from tideflow_training.mock import MockModel

RECIPE = MockModel(
    "complex_iot_model", width=20, layers=((128, 0.3), (64, 0.2)), epochs=20, batch=64
)
