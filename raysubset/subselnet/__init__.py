"""SubSelNet: subsets for architectures never trained (Jain et al., NeurIPS 2023, arXiv 2409.12255)."""
