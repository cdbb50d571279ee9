"""Weights from outside for the captioner: read safely, renamed to ours, fitted to its geometry."""
