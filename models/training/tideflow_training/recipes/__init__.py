"""One file a model: each holds `RECIPE`, and its name is how the command line knows it."""
