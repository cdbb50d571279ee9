"""Every method compared with the reader: Tables 1 to 4 of the paper.

``captions`` scores the words, ``scores`` the numbers, ``comparison`` brings predictions and truth together, ``paper``
holds the printed figures, ``tables`` sets both side by side, ``results`` writes the folder.
"""
