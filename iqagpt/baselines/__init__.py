"""Methods that the captioner is compared with; each module has ``Params`` and ``fit_predict`` (paper 3.1, 3.2).

Those that score an image by what is in it have ``load_scorer`` as well, which turns their artifact into a `iqagpt.scorers.Scorer`.
"""
