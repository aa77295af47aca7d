"""Each server that is measured, as a program of its own: `python -m benchmarks.serving.peers.<name>`."""
