"""MiniGPT-4 (Zhu et al., arXiv 2304.10592), which the paper compares captions with (Table 1).

A frozen image encoder, with a frozen Q-Former where there is one, and a frozen causal language model; one linear projection
between the two is all that is trained.
"""
