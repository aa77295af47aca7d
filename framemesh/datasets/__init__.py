"""Datasets out of the lake: which frames, whose labels, which split, written as what trainers read."""
