"""The figures that the paper prints, to be set beside ours.

Source: Chen et al., IQAGPT, Vis. Comput. Ind. Biomed. Art 2024 7:20, doi 10.1186/s42492-024-00171-w, Tables 1 to 4.
Test set there: 200 images of 2 patients, one radiologist. Means are given as printed; some do not follow from the rows
above them, so `recomputed_mean` gives what the rows average to.
"""

from collections.abc import Mapping

#: Name in the paper by the key used here.
NAMES = {
    "iqagpt": "IQAGPT",
    "minigpt4": "MiniGPT-4",
    "vit_c": "ViT-C",
    "vit_r": "ViT-R",
    "clip_iqa": "CLIP-IQA",
    "clip_iqa_plus": "CLIP-IQA+",
}

#: Column of Table 4 by variant.
VARIANT_NAMES = {
    "ndct": "NDCT",
    "ldct": "LDCT",
    "map_nn_d1": "MAP-NN(1)",
    "map_nn_d2": "MAP-NN(2)",
    "map_nn_d3": "MAP-NN(3)",
    "map_nn_d4": "MAP-NN(4)",
    "map_nn_d5": "MAP-NN(5)",
    "red_cnn": "RED-CNN",
}

_TEXT = ("bleu_1", "bleu_2", "bleu_3", "bleu_4", "meteor", "rouge_l", "cider")
_FOUR = ("noise", "small_structures", "lesion_conspicuity", "diagnostic_confidence", "mean")
_THREE = ("noise", "small_structures", "diagnostic_confidence", "mean")


def _row(keys: tuple[str, ...], *values: float) -> dict[str, float]:
    return dict(zip(keys, values, strict=True))


#: Tables 1 to 3 in the shape of ``metrics/evaluate.json``; ``mean`` as printed.
PRINTED: dict[str, dict[str, dict[str, float]]] = {
    "iqagpt": {
        "captioning": _row(_TEXT, 0.819, 0.777, 0.742, 0.712, 0.546, 0.858, 3.620),
        "accuracy": _row(_FOUR, 0.765, 0.620, 0.820, 0.605, 0.702),
        "plcc": _row(_THREE, 0.821, 0.743, 0.699, 0.754),
        "srocc": _row(_THREE, 0.820, 0.735, 0.689, 0.748),
    },
    "minigpt4": {"captioning": _row(_TEXT, 0.798, 0.733, 0.717, 0.652, 0.516, 0.826, 3.070)},
    "vit_c": {"accuracy": _row(_FOUR, 0.545, 0.405, 0.725, 0.375, 0.512)},
    "vit_r": {
        "plcc": _row(_THREE, 0.580, 0.436, 0.504, 0.531),
        "srocc": _row(_THREE, 0.460, 0.415, 0.422, 0.519),
    },
    "clip_iqa": {
        "plcc": _row(_THREE, 0.277, 0.121, 0.081, 0.160),
        "srocc": _row(_THREE, 0.271, 0.117, 0.069, 0.114),
    },
    "clip_iqa_plus": {
        "plcc": _row(_THREE, 0.742, 0.712, 0.650, 0.701),
        "srocc": _row(_THREE, 0.633, 0.696, 0.642, 0.657),
    },
}

#: Table 4, IQAGPT's accuracy by variant; the last entry is the column of printed means.
PRINTED_BY_VARIANT: dict[str, dict[str, float]] = {
    "ndct": _row(_FOUR, 1.000, 0.960, 0.920, 0.920, 0.950),
    "ldct": _row(_FOUR, 0.800, 0.680, 0.920, 0.760, 0.790),
    "map_nn_d1": _row(_FOUR, 0.600, 0.480, 0.880, 0.360, 0.580),
    "map_nn_d2": _row(_FOUR, 0.520, 0.360, 0.760, 0.400, 0.510),
    "map_nn_d3": _row(_FOUR, 0.480, 0.520, 0.800, 0.320, 0.520),
    "map_nn_d4": _row(_FOUR, 0.880, 0.600, 0.840, 0.440, 0.690),
    "map_nn_d5": _row(_FOUR, 0.880, 0.640, 0.760, 0.680, 0.740),
    "red_cnn": _row(_FOUR, 1.000, 0.720, 0.800, 0.960, 0.840),
    "mean": _row(_FOUR, 0.765, 0.620, 0.820, 0.605, 0.702),
}


def recomputed_mean(values: Mapping[str, float]) -> float:
    """Return the mean of all entries other than the printed ``mean``."""
    parts = [value for key, value in values.items() if key != "mean"]
    return sum(parts) / len(parts)


def recomputed_by_variant() -> dict[str, dict[str, float]]:
    """Return the means of Table 4 recomputed from its cells: ``[variant]["mean"]`` and ``["mean"][criterion]``."""
    variants = [variant for variant in PRINTED_BY_VARIANT if variant != "mean"]
    means = {variant: {"mean": recomputed_mean(PRINTED_BY_VARIANT[variant])} for variant in variants}
    across = {
        key: recomputed_mean({variant: PRINTED_BY_VARIANT[variant][key] for variant in variants})
        for key in _FOUR
        if key != "mean"
    }
    return means | {"mean": across | {"mean": recomputed_mean(across)}}
