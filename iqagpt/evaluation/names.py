"""What methods, image qualities and sources of scores are called in figures and pages: as in the paper, where it names them."""

from iqagpt.evaluation import paper

#: Of criteria and their mean, where the full titles do not fit.
SHORT = {
    "noise": "Noise", "small_structures": "Small structures", "lesion_conspicuity": "Lesion",
    "diagnostic_confidence": "Confidence", "mean": "Mean",
}  # fmt: skip
_METHODS = paper.NAMES | {"noise_sd": "noise SD"}
_SOURCES = {"simulated": "simulated reader", "reader": "reader"}


def method_name(method: str) -> str:
    """Return the paper's name of a method; of others the key, with spaces for underscores."""
    return _METHODS.get(method, method.replace("_", " "))


def variant_name(variant: str) -> str:
    """Return the paper's name of an image quality; of others the key, with spaces for underscores."""
    return paper.VARIANT_NAMES.get(variant, variant.replace("_", " "))


def source_name(score_source: str) -> str:
    """Return whose scores these are: ``simulated reader`` or ``reader``."""
    return _SOURCES.get(score_source, score_source.replace("simulated", "simulated reader"))
