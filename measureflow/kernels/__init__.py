"""Compiled kernels: arrays in, arrays out; numba is loaded when one is imported."""
