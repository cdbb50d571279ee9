"""A small reader study on disk, and a model to set beside it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from iqagpt.artifacts import create_artifact
from iqagpt.criteria import KEYS

SIZE = 48
WINDOW = (-160.0, 240.0)
SETS, LEVELS = 3, 5


def noisy(sd_hu: float, seed: int, shape: tuple[int, int] = (SIZE, SIZE)) -> np.ndarray:
    """Soft tissue with noise, as 8 bits over the window."""
    values = 50 + np.random.default_rng(seed).normal(0, sd_hu, shape)
    return np.clip((values - WINDOW[0]) / (WINDOW[1] - WINDOW[0]) * 255, 0, 255).astype(np.uint8)


def write_study(folder: Path) -> pd.DataFrame:
    """Write images with five levels of noise in three sets, scored 1 (worst) to 5 by two readers."""
    rows = []
    for group in range(SETS):
        for level in range(LEVELS):
            name = f"images/s{group}_{level}.png"
            (folder / "images").mkdir(parents=True, exist_ok=True)
            Image.fromarray(noisy(4.0 * 2**level, 10 * group + level)).save(folder / name)
            for reader in ("anna", "ben"):
                quality = max(1, 5 - level - (reader == "ben" and group == 1 and level == 2))
                rows.append({"image": name, "set": group, "reader": reader, "quality": quality, "fixed": 3})
    table = pd.DataFrame(rows)
    table.to_csv(folder / "scores.csv", index=False)
    return table


@pytest.fixture
def study_folder(tmp_path: Path) -> Path:
    """A study without a ``study.yaml``."""
    write_study(tmp_path / "study")
    return tmp_path / "study"


@pytest.fixture
def noise_model(tmp_path: Path) -> Path:
    """A fitted noise-SD baseline: more noise, worse scores; never a lesion."""
    steps = {key: {"thresholds": [1.0, 1.8, 2.6], "scores": [1, 2, 3, 4]} for key in KEYS}
    steps["lesion_conspicuity"] = {"thresholds": [], "scores": [0]}
    with create_artifact(tmp_path / "noise_sd", "baseline") as writer:
        writer.json("steps", steps)
        writer.info.update(name="noise_sd", params={"bands_px": [1.4, 2.8]}, window_hu=list(WINDOW))
    return tmp_path / "noise_sd"
