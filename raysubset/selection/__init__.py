"""Choosing rows: pure functions and selectors, arrays in, Selection out."""
