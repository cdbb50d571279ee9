"""Both denoisers at the paper's size: how good they get on a GPU, how fast one step is on a CPU.

Command: ``python benchmarks/denoisers.py --lesions data/lesions --split data/split``. With CUDA, or with ``--steps``, both are
fitted with the settings of ``presets/paper.yaml`` on the training patients, and measured on whole slices of the other
patients in [-160, 240] HU, beside published figures. Otherwise patches a second are measured on random patches, without data.
"""

import argparse
import dataclasses
import importlib
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import torch

from iqagpt.artifacts import Artifact, open_artifact
from iqagpt.config import load_section
from iqagpt.denoise.fitting import Pairs, denoise_slice, fit, initialise, select_pairs
from iqagpt.denoise.variants import compare

WINDOW_HU = (-160.0, 240.0)
PAPER = Path("presets/paper.yaml")
#: PSNR (dB), SSIM, RMSE (HU) that others print, in this window and by the same SSIM, but of other slices: for the range.
PUBLISHED = {
    "RED-CNN, L506 3 mm, image 11 (SSinyu/RED-CNN, README)": "LDCT 24.10 / .785 / 24.95   RED-CNN 28.69 / .843 / 14.71",
    "RED-CNN, L506 3 mm, image 25 (SSinyu/RED-CNN, README)": "LDCT 25.95 / .817 / 20.17   RED-CNN 30.64 / .863 / 11.75",
    "RED-CNN, L506 3 mm, image 81 (SSinyu/RED-CNN, README)": "LDCT 29.62 / .888 / 13.21   RED-CNN 33.10 / .918 /  8.86",
    "MAP-NN, L506 1 mm, slice 87 (its published weights)": "LDCT 19.79 / .740 / 40.98   d = 3 24.25 / .800 / 24.51   "
    "d = 5 24.78 / .791 / 23.08",
}
CPU_BATCH, CPU_STEPS = 8, 3


def methods(steps: int | None) -> Iterator[tuple[ModuleType, Any]]:
    """Yield the module and the paper's settings of each denoiser."""
    for name in ("map_nn", "red_cnn"):
        module = importlib.import_module(f"iqagpt.denoise.{name}")
        settings = load_section(PAPER, f"denoisers.{name}", module.PARAMS)
        yield module, dataclasses.replace(settings, steps=steps) if steps else settings


def patches_per_second(module: ModuleType, settings: Any) -> float:
    """Time optimiser steps on random patches, one step to warm up; a patch counts once, however often the critic sees it."""
    settings = dataclasses.replace(settings, batch_size=CPU_BATCH)
    model = initialise(module, settings, WINDOW_HU).to(memory_format=torch.channels_last)
    fitter = module.FIT(model, settings)
    shape = (CPU_BATCH, 1, settings.patch_size, settings.patch_size)
    batches = iter(lambda: (torch.rand(shape), torch.rand(shape)), None)
    fitter.step(batches, 0)
    begin = time.perf_counter()
    for step in range(CPU_STEPS):
        fitter.step(batches, step + 1)
    return CPU_STEPS * CPU_BATCH / (time.perf_counter() - begin)


def slices_per_second(module: ModuleType, settings: Any) -> float:
    """Time the inference of one slice of 512 x 512, the median of three."""
    model = initialise(module, settings, WINDOW_HU).to(memory_format=torch.channels_last).eval()
    slice_hu = np.random.default_rng(0).integers(-100, 200, (512, 512)).astype(np.int16)
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        denoise_slice(model, slice_hu)
        times.append(time.perf_counter() - begin)
    return 1 / float(np.median(times))


def quality(lesions: Artifact, split: Artifact, steps: int | None) -> pd.DataFrame:
    """Fit both, and measure every slice that is neither in train nor in val."""
    train, val, test = (select_pairs(lesions, split, part) for part in ("train", "val", "test"))
    rows = []
    for module, settings in methods(steps):
        model = initialise(module, settings, tuple(lesions.info["window_hu"]))
        begin = time.perf_counter()
        fit(model, module, settings, train, val)
        print(f"{model.name}: {settings.steps} steps in {time.perf_counter() - begin:.0f} s", flush=True)
        rows += measure(model.eval(), test, with_ldct=not rows)
    return pd.DataFrame(rows).groupby("variant", sort=False).mean()


def measure(model: torch.nn.Module, test: Pairs, *, with_ldct: bool) -> Iterator[dict[str, Any]]:
    for row in test.rows:
        ndct, ldct = np.asarray(test.ndct[row]), np.asarray(test.ldct[row])
        images = ({"ldct": ldct} if with_ldct else {}) | denoise_slice(model, ldct)
        yield from ({"variant": name, **compare(image, ndct, WINDOW_HU)} for name, image in images.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lesions", type=Path, default=Path("data/lesions"), help="slice pairs (with CUDA or --steps)")
    parser.add_argument("--split", type=Path, default=Path("data/split"), help="split by patient")
    parser.add_argument("--steps", type=int, help="fit with so many steps, also without CUDA; default: the paper's")
    arguments = parser.parse_args()
    if not torch.cuda.is_available() and not arguments.steps:
        print(f"CPU, {torch.get_num_threads()} threads, widths of {PAPER}, batches of {CPU_BATCH}")
        for module, settings in methods(None):
            speed, inference = patches_per_second(module, settings), slices_per_second(module, settings)
            print(
                f"{module.MODEL.name:8} width {settings.width:3} fit {speed:6.2f} patches of {settings.patch_size} px a second, "
                f"inference {inference:5.2f} slices a second"
            )
        return
    lesions, split = open_artifact(arguments.lesions, "lesions"), open_artifact(arguments.split, "split")
    table = quality(lesions, split, arguments.steps)
    print(f"test slices, window {WINDOW_HU} HU: PSNR dB / SSIM / RMSE HU")
    for name, row in table.iterrows():
        print(f"  {name:10} {row['psnr_db']:6.2f} / {row['ssim']:.3f} / {row['rmse_hu']:6.2f}")
    print("published, same window and SSIM, other slices: PSNR dB / SSIM / RMSE HU")
    for name, figures in PUBLISHED.items():
        print(f"  {name}\n    {figures}")


if __name__ == "__main__":
    main()
