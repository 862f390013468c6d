"""How good `detect` is, by the published rules of three public data sets."""
