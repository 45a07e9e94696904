"""What tests and benchmarks share: one tolerance rule, seeded inputs, and the laws of statistics."""
