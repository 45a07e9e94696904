"""The suites: one module or package for each operation, with its ``SUITE``."""
