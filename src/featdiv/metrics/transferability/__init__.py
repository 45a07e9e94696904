"""Scores of how well features will transfer to a labelled task, without training on it."""
