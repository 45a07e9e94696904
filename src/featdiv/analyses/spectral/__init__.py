"""The spectrum of rows: planning, algorithms, intervals, result and plot."""
