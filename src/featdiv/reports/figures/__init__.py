"""Figures as inline SVG, by small pure functions: numbers in, markup out."""
