"""The sections of the page, one module each, and the registry that lists them in their order."""
