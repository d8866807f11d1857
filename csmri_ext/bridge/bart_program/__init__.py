"""BART's program: found, run, and its tools ``pics`` and ``ecalib``."""
