"""Data sets in memory: readers, splits, augmentation and batches."""
