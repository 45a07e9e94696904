"""Comparison of representations of the same rows: planning, passes, intervals, result and plots."""
