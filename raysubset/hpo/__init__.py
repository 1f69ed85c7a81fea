"""Pure cores of multi-fidelity search: rungs, halving, budgets, spaces. No Ray."""
