"""Seeing what the models learned: the paper's figures, and a number for what each of them seems to show."""
