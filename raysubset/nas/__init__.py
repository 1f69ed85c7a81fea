"""Architectures: spaces of cells, the networks they make, supernets that share weights, how to search them. Pure.

A cell of any space is hashable and its ``str`` names it; the space reads that name again.
"""
