"""Rules for cluster files: plain mappings in, faults out."""
