"""Triton kernels, one module a topic. Importing them imports Triton; the backends do so on their first launch."""
