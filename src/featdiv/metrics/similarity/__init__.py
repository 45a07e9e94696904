"""Similarity of two representations of the same rows, one measure a file.

Measures of second moments have a pure ``core`` of a `Pair`, two sides of a `CrossMoments`; the others ``prepare`` each
side's rows once and compare what came of it. Either way a matrix of many models costs each model's part once.
`measures` lists them for `featdiv.compare`, `entries` describes them for the catalogue.
"""
