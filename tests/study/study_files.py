"""A reader study for training: three sets, four levels of noise, two readers, one of them a step off here and there."""

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

SIDE, SETS, LEVELS = 64, 3, 4
DESCRIPTION = """
window_hu: [-160, 240]
columns: {variant: made, set: case}
higher_is_worse: {noise: grain, small_structures: "steps(grain, 2, 3, 4)"}
higher_is_better: {diagnostic_confidence: 5 - grain}
"""


def write_training_study(folder: Path) -> Path:
    """Write images, ``scores.csv`` and ``study.yaml``; ``grain`` runs from 1 to 4."""
    (folder / "images").mkdir(parents=True)
    rows = []
    for case in range(SETS):
        for level in range(LEVELS):
            rng = np.random.default_rng(10 * case + level)
            values = 50 + 5 * 2.5**level * rng.standard_normal((SIDE, SIDE))
            grey = np.clip((values + 160) / 400 * 255, 0, 255).astype(np.uint8)
            name = f"images/c{case}_{level}.png"
            Image.fromarray(grey).save(folder / name)
            for reader in ("anna", "ben"):
                grain = min(4, level + 1 + (reader == "ben" and case == level == 1))
                rows.append(
                    {"image": name, "case": f"case {case}", "made": f"net/{level}", "reader": reader, "grain": grain}
                )
    pd.DataFrame(rows).to_csv(folder / "scores.csv", index=False)
    (folder / "study.yaml").write_text(DESCRIPTION)
    return folder
