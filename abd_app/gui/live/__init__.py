"""Act two: what a run shows while it is on."""
