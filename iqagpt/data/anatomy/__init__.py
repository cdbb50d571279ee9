"""Synthetic abdominal anatomy: patients drawn from a seed, slices drawn from patients."""
