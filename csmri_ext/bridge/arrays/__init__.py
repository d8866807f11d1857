"""Arrays without a protocol: npy, mat, NIfTI and pictures."""
