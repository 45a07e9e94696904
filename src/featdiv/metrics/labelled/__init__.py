"""Scores of rows and their labels: how classes spread, part and collapse."""
