"""Small artifacts that many tests share, made by the library's own writer."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from iqagpt.artifacts import create_artifact
from iqagpt.captioner.captions import caption_scores
from iqagpt.captioner.tokenizer import CaptionParams, build_tokenizer
from iqagpt.criteria import KEYS

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM = Path("/usr/bin/chromium")
SIZE = 64
#: Noise SD in HU, and the four scores that go with it in `scored_run`.
LEVELS = {"ndct": (6.0, 1), "map_nn_d5": (20.0, 2), "map_nn_d1": (45.0, 3), "ldct": (90.0, 4)}


@pytest.fixture(scope="session")
def scored_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``variants``, ``captions`` and ``split``: scores follow the noise in flat images.

    Patients P1 to P4 train, P5 validates, P6 tests; two slices each, lesions in every other slice.
    """
    root = tmp_path_factory.mktemp("scored_run")
    rng = np.random.default_rng(0)
    slices = [(f"P{p}", f"P{p}_{k:03d}", k) for p in range(1, 7) for k in range(2)]
    rows, scores = [], []
    with create_artifact(root / "variants", "variants") as writer:
        for variant, (noise, score) in LEVELS.items():
            pixels = writer.array(variant, (len(slices), SIZE, SIZE), np.int16)
            for row, (patient, name, k) in enumerate(slices):
                pixels[row] = np.rint(50 + rng.normal(0, noise, (SIZE, SIZE)))
                image = {"image_id": f"{name}_{variant}", "slice_id": name, "patient_id": patient, "variant": variant}
                lesion = {"has_lesion": k, "lesion_contrast_hu": -40.0 if k else None}
                rows.append({**image, "row": row, "pixel_spacing_mm": 0.7, **lesion})
                given = dict.fromkeys(KEYS, score) | {"lesion_conspicuity": score if k else None}
                scores.append({**image, "reader": "r1", "score_source": "simulated", "consensus": 1, **given})
        writer.manifest(pd.DataFrame(rows))
        writer.info.update(window_hu=[-160.0, 240.0], variants=list(LEVELS), data_source="SYNTHETIC flat images")
    with create_artifact(root / "captions", "captions") as writer:
        writer.info["data_source"] = "SYNTHETIC flat images"
        writer.manifest(caption_scores(pd.DataFrame(scores)))
        build_tokenizer(CaptionParams("presets/none.txt")).save(writer.path)
    splits = {"P5": "val", "P6": "test"}
    with create_artifact(root / "split", "split") as writer:
        table = [{"slice_id": n, "patient_id": p, "split": splits.get(p, "train")} for p, n, _ in slices]
        writer.manifest(pd.DataFrame(table))
    return root


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """Debian's Chromium, headless; closed after each file, as Playwright's event loop shuts out every other one."""
    if not CHROMIUM.is_file():
        pytest.skip(f"{CHROMIUM} is not installed; apt-get install chromium")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        opened = playwright.chromium.launch(executable_path=str(CHROMIUM), args=flags)
        yield opened
        opened.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest file, so that of two processes neither is idle at the end."""
    items.sort(key=lambda item: item.path.name != "test_smoke.py")
