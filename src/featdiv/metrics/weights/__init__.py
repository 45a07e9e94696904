"""Scores of the weights of a model: how different its filters are."""
