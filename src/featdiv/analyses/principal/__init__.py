"""What the leading directions of a representation stand for: the rows at their ends."""
