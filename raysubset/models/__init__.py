"""Networks by name, their seeded initial weights, and the layer that selection reads."""
