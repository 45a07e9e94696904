"""Which of several networks to take for a labelled set of images: `featdiv.rank_models`."""
