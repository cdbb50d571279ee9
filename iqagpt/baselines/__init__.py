"""Methods that the captioner is compared with; each module has ``Params`` and ``fit_predict`` (paper 3.1, 3.2)."""
