"""The ISMRMRD header that raw data and fastMRI's files carry."""
