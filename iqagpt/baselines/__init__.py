"""Methods that the captioner is compared with (paper 3.1, 3.2).

Each module has ``Params`` and ``fit_predict(params, images, pretrained, writer)``, which fits on the ``train`` images, writes its
model and returns scores of the held-out images; `pretrained` is the folder of what the captioner starts from. Those that score an
image by what is in it have ``load_scorer`` as well, which turns their artifact into a `iqagpt.scorers.Scorer`.
"""
