"""Iterative reconstruction: total variation, solved as BART's ``pics`` solves it."""
