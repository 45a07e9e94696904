"""Studies: many models, on many data sets. What predicts transfer, and how sure can one be of it?"""
