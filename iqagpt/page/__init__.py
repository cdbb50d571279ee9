"""The results page: everything that a run found, in files that open in any browser without a network.

`contents` gathers what other stages wrote, `index` and `patient` arrange it, `document` makes files of it. Stage ``page``
writes them; paper, Figure 4 and Tables 1 to 4.
"""
