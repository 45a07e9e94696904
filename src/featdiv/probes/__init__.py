"""Probes: what is fitted to rows and labels, and how well it does on rows that it has not seen."""

from __future__ import annotations
