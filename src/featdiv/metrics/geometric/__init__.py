"""Metrics of the geometry of rows: of their pairs, their neighbours, and their entries."""
