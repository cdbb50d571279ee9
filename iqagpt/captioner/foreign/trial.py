"""What a parameter file's captioner would load of imported weights, without building it in memory."""

from pathlib import Path

import torch

from iqagpt.artifacts import Artifact
from iqagpt.captioner.captioner import Captioner
from iqagpt.captioner.foreign.loading import load_into
from iqagpt.captioner.foreign.report import Report
from iqagpt.captioner.pretraining import PretrainParams
from iqagpt.captioner.tokenizer import CaptionParams, build_tokenizer
from iqagpt.config import load_section, read_params

#: Side of the image in pixels where ``ingest.matrix`` leaves it open.
IMAGE_SIZE = 512


def try_on(artifact: Artifact, params: Path) -> Report:
    """Load weights into the captioner of `params`, on the device ``meta``.

    Raises
    ------
    ParamsError
        If the sections ``pretrain`` or ``caption`` are not valid.
    ArtifactError
        If the weights do not fit.
    """
    section = load_section(params, "pretrain", PretrainParams)
    tokenizer = build_tokenizer(load_section(params, "caption", CaptionParams))
    ingest = read_params(params).get("ingest")
    matrix = ingest.get("matrix") if isinstance(ingest, dict) else None
    size = matrix if isinstance(matrix, int) else IMAGE_SIZE
    with torch.device("meta"):
        captioner = Captioner(section.encoder, section.text, image_size=size, vocabulary_size=tokenizer.size)
    return load_into(captioner, artifact, tokenizer)
