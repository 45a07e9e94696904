"""Images to features: data, models, and the extraction that joins them, with a cache that knows what it holds."""
