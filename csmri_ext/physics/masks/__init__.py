"""Sampling masks by kind: columns as in fastMRI, radial, Poisson disc and Gaussian."""
