"""The folder ``figures``: the paper's figures 2, 4 and 6 to 9 as SVG, what they show as CSV, and the metrics of what they claim.

``figures.json`` lists the figures with title, caption and description; ``manifest.csv`` lists the tables, of which ``classes.csv``,
``scores.csv``, ``accuracy.csv``, ``lesion_share.csv``, ``token_attention.csv`` and ``embedding_*.csv`` suit DVC's templates.
"""

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from iqagpt.artifacts import ArtifactWriter, create_artifact, open_artifact
from iqagpt.captioner.captioner import Captioner, load_captioner
from iqagpt.captioner.tokenizer import CaptionTokenizer
from iqagpt.config import check_least
from iqagpt.criteria import KEYS, NO_LESION
from iqagpt.device import pick_device
from iqagpt.errors import ArtifactError
from iqagpt.evaluation.comparison import IQAGPT, Comparison, load_comparison, score_table
from iqagpt.explain.attribution import LESION, measure_maps, summarise_maps
from iqagpt.explain.cards import Card, choose_cards, draw_cards
from iqagpt.explain.feature_figure import draw_features
from iqagpt.explain.features import (
    EmbeddingParams,
    cls_features,
    embed,
    embedding_table,
    image_encoders,
    summarise_embedding,
)
from iqagpt.explain.grad_cam import word_maps
from iqagpt.explain.grad_cam_figure import Explained, draw_word_maps
from iqagpt.explain.score_figures import draw_predictions, draw_readings, prediction_shares
from iqagpt.explain.style import Drawn
from iqagpt.explain.token_attention import attention_of_caption, group_attention, summarise_attention
from iqagpt.explain.token_attention_figure import draw_token_attention
from iqagpt.predictions import NONE, labels, probability_columns
from iqagpt.scored_images import ScoredImages, open_scored_images

logger = logging.getLogger(__name__)

#: The criterion that colours Fig. 7, as in the paper.
COLOURED_BY = KEYS[0]
READER = "reader"
_TABLES = {
    "predictions": "Fig. 6: shares of scores by method and criterion, the truth last",
    "embedding": "Fig. 7: points of the first t-SNE",
    "embedding_seeds": "Fig. 7: silhouette and neighbours' correlation of every run",
    "token_attention": "Fig. 8: attention between criteria",
    "grad_cam": "check of Fig. 9: attribution on the lesion, and flatness, image by image",
    "classes": "true and predicted classes of IQAGPT by criterion, one row per image",
    "scores": "true and predicted scores of IQAGPT, one row per image and criterion",
    "accuracy": "mean accuracy of IQAGPT by image quality",
    "lesion_share": "check of Fig. 9: attribution of the lesion's words on the lesion's patches, and their share of the area",
}


@dataclass(frozen=True, slots=True)
class ExplainParams:
    """Section ``explain``.

    Attributes
    ----------
    embedding : EmbeddingParams
        Of Fig. 7.
    images : int
        Test images at most, spread evenly, for attention (Fig. 8) and Grad-CAM (Fig. 9).
    cards : int
        Example cards at most (Fig. 4).
    """

    embedding: EmbeddingParams
    images: int
    cards: int

    def __post_init__(self) -> None:
        check_least(self, images=1, cards=1)


@dataclass(frozen=True)
class Inputs:
    """What is drawn.

    Attributes
    ----------
    model, tokenizer
        The captioner.
    baselines : path
        Folder of the baselines' artifacts.
    images : ScoredImages
        Of the test split, with the reader's scores and captions.
    data : Comparison
        The same images, in the same order, with every method's predictions.
    scores : DataFrame
        The manifest of ``data/scores``, all readers.
    reports : dict of str to str
        Report by image.
    """

    model: Captioner
    tokenizer: CaptionTokenizer
    baselines: Path
    images: ScoredImages
    data: Comparison
    scores: pd.DataFrame
    reports: dict[str, str]

    @property
    def captions(self) -> list[str]:
        """IQAGPT's captions of the images."""
        return self.data.predictions[IQAGPT]["caption"].tolist()


def load_inputs(
    *, model: Path, baselines: Path, variants: Path, captions: Path, split: Path, scores: Path, predictions: Path,
    results: Path, reports: Path,
) -> Inputs:  # fmt: skip
    """Open everything that the figures show.

    Raises
    ------
    ArtifactError
        If an artifact is missing or incomplete, or no image is of the test split.
    """
    captioner, tokenizer, _ = load_captioner(model, pick_device())
    methods = open_artifact(results, "results").table("accuracy_by_variant")["method"].unique()
    enabled = [name for name in methods if name != IQAGPT]
    data = load_comparison(predictions, captions, split, baselines=enabled, name="test")
    images = open_scored_images(variants, split, captions).subset("test")
    if not len(images):
        raise ArtifactError(f"{split}: no test image; check split.test_patients in params.yaml and run dvc repro")
    table = images.table.set_index("image_id").loc[data.truth["image_id"]].reset_index()
    return Inputs(
        captioner,
        tokenizer,
        baselines,
        ScoredImages(table, images.variants),
        data,
        open_artifact(scores, "scores").manifest,
        _read_reports(reports),
    )


def _read_reports(folder: Path) -> dict[str, str]:
    file = open_artifact(folder, "reports").path / "reports.jsonl"
    try:
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        return {row["image_id"]: row["report"] for row in rows}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{file}: cannot be read as reports ({error}); run dvc repro report") from error


def write_figures(output: Path, inputs: Inputs, params: ExplainParams) -> dict[str, Any]:
    """Draw all figures into a folder.

    Parameters
    ----------
    output : path
        The artifact to write.
    inputs : Inputs
    params : ExplainParams

    Returns
    -------
    dict
        ``metrics/explain.json``: ``score_source``, ``n_images``; ``features`` by model, ``token_attention`` by criterion,
        ``grad_cam`` by whose caption was explained.
    """
    data = inputs.data
    with create_artifact(output, "figures") as writer:
        tables: dict[str, pd.DataFrame] = {
            "classes": _classes(data),
            "scores": _scores(data),
            "accuracy": _accuracy(data),
        }
        figures = [draw_readings(inputs.scores, writer.path), _cards(inputs, params.cards, writer.path)]
        tables["predictions"] = prediction_shares(data)
        figures.append(draw_predictions(tables["predictions"], data.score_source, len(data.truth), writer.path))
        found: dict[str, Any] = {"score_source": data.score_source, "n_images": len(data.truth)}
        for part in (_features, _token_attention, _word_maps):
            name, figure, metrics, more = part(inputs, params, writer.path)
            logger.info("%s: %s", name, "drawn" if figure else "nothing to draw")
            figures += [figure] if figure else []
            tables |= more
            found[name] = metrics
        _finish(writer, figures, tables, data.score_source)
    return found


def _finish(writer: ArtifactWriter, figures: list[Drawn], tables: dict[str, pd.DataFrame], source: str) -> None:
    for name, table in tables.items():
        writer.table(name, table)
    for model, points in tables["embedding"].groupby("model"):
        writer.table(f"embedding_{model}", points.drop(columns="model"))
    writer.json("figures", [asdict(figure) for figure in figures])
    content = [{"file": f"{name}.csv", "content": _TABLES[name]} for name in sorted(tables)]
    writer.manifest(pd.DataFrame(content))
    writer.info["score_source"] = source


Part = tuple[str, Drawn | None, dict[str, Any], dict[str, pd.DataFrame]]


def _features(inputs: Inputs, params: ExplainParams, folder: Path) -> Part:
    table, embeddings = inputs.data.truth, {}
    scores, slices = table[COLOURED_BY].to_numpy(dtype=int), table["slice_id"].to_numpy()
    for name, encoder in image_encoders(inputs.model, inputs.baselines, list(inputs.data.predictions)):
        embeddings[name] = embed(cls_features(encoder, inputs.images), scores, slices, params.embedding)
    seeds = [
        {"model": model, "measure": measure, "run": run, "value": value}
        for model, found in embeddings.items()
        for measure, values in (("silhouette", found.silhouette), ("neighbours", found.neighbours))
        for run, value in enumerate(values)
    ]
    tables = {
        "embedding": embedding_table(embeddings, table, COLOURED_BY),
        "embedding_seeds": pd.DataFrame(seeds, columns=["model", "measure", "run", "value"]),
    }
    figure = draw_features(embeddings, table, COLOURED_BY, folder)
    return "features", figure, {name: summarise_embedding(found) for name, found in embeddings.items()}, tables


def _token_attention(inputs: Inputs, params: ExplainParams, folder: Path) -> Part:
    chosen = _spread(np.arange(len(inputs.images)), params.images)
    images, captions = _pick(inputs.images, chosen), [inputs.captions[i] for i in chosen]
    table = group_attention(inputs.model, inputs.tokenizer, images, captions)
    # The caption that is given most often stands for the others.
    example = captions.index(pd.Series(captions).mode().iloc[0])
    weights, tokens, groups = attention_of_caption(
        inputs.model, inputs.tokenizer, _tensor(inputs, images, np.array([example])), captions[example]
    )
    figure = draw_token_attention(weights, tokens, groups, table, len(images), folder)
    return "token_attention", figure, summarise_attention(table), {"token_attention": table}


def _word_maps(inputs: Inputs, params: ExplainParams, folder: Path) -> Part:
    mask = inputs.images.variants.array("lesion_mask")
    rows = inputs.images.table["row"]
    sizes = {row: int(mask[row].sum()) for row in rows.unique()}
    chosen = _spread(np.flatnonzero(rows.map(sizes) > 0), params.images)
    texts = {READER: inputs.data.truth["caption"].tolist(), IQAGPT: inputs.captions}
    captions = {source: [of_source[i] for i in chosen] for source, of_source in texts.items()}
    table = measure_maps(inputs.model, inputs.tokenizer, _pick(inputs.images, chosen), captions, mask)
    largest = max(sizes, key=lambda row: (sizes[row], -row))
    figure = draw_word_maps(_examples(inputs, np.flatnonzero(rows == largest), mask[largest]), folder)
    lesion = table[(table["criterion"] == LESION) & (table["caption_of"] == READER)]
    tables = {"grad_cam": table, "lesion_share": lesion[["image_id", "variant", "area_share", "share"]]}
    return "grad_cam", figure, summarise_maps(table), tables


def _examples(inputs: Inputs, of_slice: np.ndarray, mask: np.ndarray) -> list[Explained]:
    """Explain one slice in its best and its worst quality, by the reader's noise score; of equal ones the first and the last."""
    noise = inputs.data.truth[COLOURED_BY].to_numpy(dtype=int)[of_slice]
    chosen = np.unique(of_slice[[int(noise.argmin()), len(noise) - 1 - int(noise[::-1].argmax())]])
    batch = _tensor(inputs, inputs.images, chosen)
    maps = word_maps(inputs.model, inputs.tokenizer, batch, [inputs.captions[i] for i in chosen])
    pictures = batch[:, 0].cpu().numpy()
    order = np.argsort(noise[np.searchsorted(of_slice, chosen)], kind="stable")
    variants = inputs.images.table["variant"]
    return [Explained(variants.iloc[chosen[i]], pictures[i], mask, maps[i]) for i in order]


def _cards(inputs: Inputs, count: int, folder: Path) -> Drawn:
    truth, predicted = inputs.data.truth, inputs.data.predictions[IQAGPT]
    said, stated = labels(predicted), labels(truth)
    given, cards = truth[list(KEYS)].to_numpy(dtype=float, na_value=np.nan), []
    for index in choose_cards(given, truth["slice_id"].to_numpy(), count):
        row = truth.iloc[index]
        probabilities = {key: _probability(predicted.iloc[index], key, said[key].iloc[index]) for key in KEYS}
        cards.append(
            Card(
                row["image_id"],
                row["variant"],
                inputs.images.batch(np.array([index]))[0, 0],
                {key: _in_words(stated[key].iloc[index]) for key in KEYS},
                {key: _in_words(said[key].iloc[index]) for key in KEYS},
                {key: share for key, share in probabilities.items() if share is not None},
                predicted["caption"].iloc[index],
                inputs.reports.get(row["image_id"], ""),
            )
        )
    return draw_cards(cards, inputs.data.score_source, folder)


def _probability(row: pd.Series, key: str, name: str) -> float | None:
    column = f"{key}_none" if name == NONE else f"{key}_p{name}"
    return float(row[column]) if column in row and column in probability_columns(key) else None


def _in_words(name: str) -> str:
    return NO_LESION if name == NONE else name


def _classes(data: Comparison) -> pd.DataFrame:
    truth, predicted = labels(data.truth), labels(data.predictions[IQAGPT])
    table = data.truth[["image_id", "variant"]].copy()
    for key in KEYS:
        table[f"{key}_truth"] = _with_source(truth[key], data)
        table[f"{key}_predicted"] = predicted[key].to_numpy()
    return table


def _scores(data: Comparison) -> pd.DataFrame:
    table = score_table(data)[["image_id", "criterion", "truth", "predicted"]]
    return table.assign(truth=_with_source(table["truth"].astype(int).astype(str), data))


def _with_source(classes: pd.Series, data: Comparison) -> np.ndarray:
    """Say in every class whose it is: DVC's plots have no other place for it."""
    return (classes + f" ({data.score_source})").to_numpy()


def _accuracy(data: Comparison) -> pd.DataFrame:
    right = labels(data.truth).to_numpy() == labels(data.predictions[IQAGPT]).to_numpy()
    table = data.truth[["variant"]].assign(accuracy=right.mean(1))
    return table.groupby("variant", sort=False, as_index=False)["accuracy"].mean()


def _spread(indices: np.ndarray, count: int) -> np.ndarray:
    """Return at most `count` of the indices, evenly spread."""
    return indices[np.unique(np.linspace(0, len(indices) - 1, min(count, len(indices))).round().astype(int))]


def _pick(images: ScoredImages, indices: np.ndarray) -> ScoredImages:
    return ScoredImages(images.table.iloc[indices].reset_index(drop=True), images.variants)


def _tensor(inputs: Inputs, images: ScoredImages, indices: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images.batch(indices)).to(next(inputs.model.parameters()).device)
