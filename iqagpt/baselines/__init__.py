"""Methods that the captioner is compared with (paper 3.1, 3.2).

Each module has ``Params`` and ``fit_predict(params, images, pretrained, writer)``, which fits on the ``train`` images, writes its
model and returns scores of the held-out images; `pretrained` is what the captioner starts from.
"""
