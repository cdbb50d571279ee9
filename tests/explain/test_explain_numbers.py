"""The numbers behind the figures: on hand-made cases whose answer is known."""

import numpy as np
import pandas as pd
import pytest

from iqagpt.criteria import KEYS, scores_to_caption
from iqagpt.explain.attribution import flatness, measure_maps, summarise_maps, touched_patches
from iqagpt.explain.cards import choose_cards
from iqagpt.explain.features import EmbeddingParams, embed, neighbour_correlation, silhouette, summarise_embedding
from iqagpt.explain.token_attention import BEGIN, _between, summarise_attention, token_groups
from iqagpt.scored_images import open_scored_images


def test_patches_that_touch_the_lesion():
    mask = np.zeros((64, 64), np.uint8)
    mask[15:17, 40] = 1
    assert np.argwhere(touched_patches(mask, 4)).tolist() == [[0, 2], [1, 2]]


def test_flatness_runs_from_one_patch_to_all():
    assert flatness(np.full((4, 4), 1 / 16)) == pytest.approx(1)
    assert flatness(np.eye(1, 16).reshape(4, 4)) == pytest.approx(0)
    assert 0 < flatness(np.array([[0.5, 0.5], [0, 0]])) < 1


def rows(image: str, share: float, noise: float, lesion: float) -> list[dict]:
    facts = {"image_id": image, "patient_id": "P", "variant": "ndct", "caption_of": "reader", "area_share": 0.1}
    return [
        {**facts, "criterion": "noise", "share": 0.1, "flatness": noise},
        {**facts, "criterion": "lesion_conspicuity", "share": share, "flatness": lesion},
    ]


def test_the_check_of_the_maps():
    found = summarise_maps(pd.DataFrame(rows("a", 0.5, 0.9, 0.2) + rows("b", 0.05, 0.3, 0.4)))["reader"]
    assert found["lesion_conspicuity"]["gain"] == pytest.approx(2.75)
    assert found["noise"]["gain"] == pytest.approx(1)
    assert (found["above_area"], found["noise_flatter"], found["images"]) == (0.5, 0.5, 2)
    assert summarise_maps(pd.DataFrame(rows("a", 1, 1, 1)).iloc[:0]) == {}


def test_no_image_with_a_lesion_is_no_error(captioner, tokenizer, scored_run):
    images = open_scored_images(scored_run / "variants", scored_run / "split").subset("nowhere")
    table = measure_maps(captioner, tokenizer, images, {"reader": []}, np.zeros((12, 64, 64), np.uint8))
    assert len(table) == 0
    assert summarise_maps(table) == {}


def test_neighbours_of_other_slices_only():
    scores, slices = np.array([1, 1, 2, 2, 3, 3]), np.array(list("abcdef"))
    line = np.array([[0.0], [0.1], [1.0], [1.1], [2.0], [2.1]])
    assert neighbour_correlation(line, scores, slices, 1) == pytest.approx(1)
    assert neighbour_correlation(line, scores, np.array(list("aabbcc")), 1) < 0.9
    assert neighbour_correlation(line, np.ones(6), slices, 1) is None
    assert neighbour_correlation(line, scores, np.array(["a"] * 6), 1) is None


def test_silhouette_of_clusters_and_where_there_is_none():
    points = np.array([[0.0, 0], [0, 1], [9, 0], [9, 1]])
    assert silhouette(points, np.array([1, 1, 2, 2])) > 0.8
    assert silhouette(points, np.array([1, 2, 1, 2])) < 0
    assert silhouette(points, np.ones(4)) is None
    assert silhouette(points, np.arange(4)) is None


def test_the_same_seed_gives_the_same_points_another_other_ones():
    rng = np.random.default_rng(0)
    scores = np.repeat([1, 2, 3, 4], 5)
    features = (scores[:, None] * 10 + rng.normal(size=(20, 6))).astype(np.float32)
    slices = np.arange(20) % 5
    params = EmbeddingParams(seeds=2, perplexity=30.0, neighbours=3, seed=1)
    first, again = (embed(features, scores, slices, params) for _ in range(2))
    np.testing.assert_array_equal(first.points, again.points)
    assert not np.array_equal(first.points[0], first.points[1])
    summary = summarise_embedding(first)
    assert summary["silhouette"]["features"] > 0.8
    assert summary["neighbours"]["mean"] > 0.5
    assert summarise_embedding(embed(features[:1], scores[:1], slices[:1], params)) == {
        "silhouette": {},
        "neighbours": {},
    }


def test_attention_between_groups():
    weights = np.array([[1, 0, 0], [0.5, 0.5, 0], [0.2, 0.3, 0.5]])
    found, equal = _between(weights, [BEGIN, "noise", "small_structures"])
    np.testing.assert_allclose(found[:2, :3], [[0.5, 0.5, 0], [0.2, 0.3, 0.5]])
    np.testing.assert_allclose(equal[1, :3], 1 / 3)


def test_groups_follow_the_criteria_of_the_caption(tokenizer):
    caption = scores_to_caption(dict.fromkeys(KEYS, 1))
    groups = token_groups(tokenizer, caption)
    assert len(groups) == len(tokenizer.encode([caption])[0])
    assert list(dict.fromkeys(groups)) == [BEGIN, *KEYS]


def test_summary_of_attention_names_own_and_earlier():
    table = pd.DataFrame(
        [
            {"source": key, "target": target, "share": 1 / (place + 2), "equal_share": 0.5}
            for place, key in enumerate(KEYS)
            for target in (BEGIN, *KEYS[: place + 1])
        ]
    )
    found = summarise_attention(table)
    assert "earlier" not in found["noise"]
    assert found["diagnostic_confidence"]["earlier"] == pytest.approx(3 / 5)
    assert found["diagnostic_confidence"]["own_if_equal"] == 0.5


def test_cards_run_from_best_to_worst_over_slices():
    scores = np.array([[4.0] * 4, [1] * 4, [2, 2, np.nan, 2], [3] * 4, [1, 1, np.nan, 1]])
    slices = np.array(["a", "a", "b", "c", "c"])
    assert choose_cards(scores, slices, 3).tolist() == [1, 2, 3]
    assert choose_cards(scores, slices, 9).tolist()[0] == 1
    assert sorted(choose_cards(scores, slices, 9).tolist()) == [0, 1, 2, 3, 4]
