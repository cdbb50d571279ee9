"""Scores turned into reports in radiology form (paper 2.3, Figure 4).

The scores always come from the caption's parser; a language model, where one is asked, writes prose and nothing else.
"""
