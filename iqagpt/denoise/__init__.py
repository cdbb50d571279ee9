"""Denoisers behind the graded image qualities: MAP-NN and RED-CNN (paper 2.1, references 25 and 37)."""
