"""Scores of second moments, one a file: a pure ``core`` of a statistic, and a public function of anything.

Every core takes one statistic, `Eigenvalues` or `Moments`, and returns a float; it is cheap, so that
intervals may call it many times. The public function of the same name as its module resolves its input
(`inputs`), runs the core and returns a `Score` with provenance. `entries` describes each for the catalogue.
"""
