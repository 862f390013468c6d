"""A small network on ten random features; random labels, so there is nothing to learn."""

from tideflow_training.mock import MockModel

RECIPE = MockModel("mock_iot_model", width=10, layers=((64, 0.0), (64, 0.0)), epochs=10, batch=32)
