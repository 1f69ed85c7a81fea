"""Fast kernels: tensors or arrays in, row numbers and gains out; they know no selector and no class."""
