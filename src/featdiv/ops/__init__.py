"""The narrow waist: a handful of ops, each with interchangeable backends proven equal to one reference."""
