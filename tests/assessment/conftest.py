"""A tiny captioner of random weights, and scans to assess with it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from iqagpt.artifacts import create_artifact
from iqagpt.assessment.assessor import Assessor, load_assessor
from iqagpt.captioner.captioner import Captioner, save_captioner
from iqagpt.captioner.image_encoder import EncoderParams
from iqagpt.captioner.text_stack import TextParams
from iqagpt.captioner.tokenizer import CaptionParams, build_tokenizer
from tests.data.dicom_files import write_slice

SIZE = 64
ENCODER = EncoderParams(stem="conv", patch_size=16, width=16, depth=1, heads=2)
TEXT = TextParams(width=24, text_layers=1, fusion_layers=1, heads=2, intermediate=32, dropout=0.0)


@pytest.fixture(scope="session")
def captioner_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A captioner for 64 x 64 pixels."""
    folder = tmp_path_factory.mktemp("captioner") / "iqagpt"
    torch.manual_seed(0)
    tokenizer = build_tokenizer(CaptionParams("presets/none.txt"))
    model = Captioner(ENCODER, TEXT, image_size=SIZE, vocabulary_size=tokenizer.size)
    with torch.no_grad():  # random word embeddings this small leave all phrases nearly equal
        model.text.embeddings.word_embeddings.weight.mul_(4)
    with create_artifact(folder, "captioner") as writer:
        writer.info["window_hu"] = [-160.0, 240.0]
        save_captioner(writer, model, tokenizer)
    return folder


@pytest.fixture(scope="session")
def assessor(captioner_folder: Path) -> Assessor:
    return load_assessor(captioner_folder)


def body(seed: int, side: int = SIZE, noise_hu: float = 20.0) -> np.ndarray:
    """A disc of soft tissue in air."""
    rows, columns = np.mgrid[:side, :side] - (side - 1) / 2
    values = np.where(rows**2 + columns**2 < (0.4 * side) ** 2, 50.0, -1000.0)
    values += np.random.default_rng(seed).normal(0, noise_hu, values.shape)
    return np.rint(values).clip(-1024, 3071).astype(np.int16)


def write_scan(folder: Path, count: int = 11, **tags: object) -> Path:
    """A DICOM series that lies within what the model has seen."""
    for k in range(count):
        given = {"BodyPartExamined": "ABDOMEN", "SeriesInstanceUID": "1.2.3", **tags}
        write_slice(folder / f"s{k:02d}.dcm", z=3.0 * k, hu=body(k).astype(np.int32), **given)
    return folder
