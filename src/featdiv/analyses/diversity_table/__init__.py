"""Diversity: which scores, what statistics they share, their intervals, the table and its plot."""
