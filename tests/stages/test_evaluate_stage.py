"""The stage ``evaluate``: files, numbers, equal bytes, errors."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from iqagpt.artifacts import open_artifact, write_table
from iqagpt.criteria import KEYS
from iqagpt.evaluation import comparison
from iqagpt.evaluation.caption_totals import METRICS
from stages.evaluate import app
from tests.evaluation.prediction_tables import METHODS, count_equal, perfect, write_predictions


def run(folder: Path, scored_run: Path, baselines: list[str], output: str = "results") -> Result:
    params = folder / "params.yaml"
    params.write_text(json.dumps({"evaluate": {"baselines": baselines, "draws": 200, "seed": 1}}))
    options = {
        "predictions": folder / "predictions",
        "captions": scored_run / "captions",
        "split": scored_run / "split",
        "variants": scored_run / "variants",
        "output": folder / output,
        "metrics": folder / f"{output}.json",
        "by-variant": folder / f"{output}_by_variant.json",
        "params": params,
    }
    return CliRunner().invoke(app, [word for name, value in options.items() for word in (f"--{name}", str(value))])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, scored_run: Path) -> Path:
    """A folder with the results of two runs on equal inputs, the second with its tables in another order."""
    root = tmp_path_factory.mktemp("evaluate")
    write_predictions(root / "predictions", scored_run)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparison, "count_captions", count_equal)
        assert run(root, scored_run, list(METHODS[1:])).exit_code == 0
        for method in METHODS:
            file = root / f"predictions/{method}.csv"
            head, *lines = file.read_text().splitlines(keepends=True)
            file.write_text("".join([head, *reversed(lines)]))
        assert run(root, scored_run, list(METHODS[1:]), "again").exit_code == 0
    return root


def test_metrics_have_the_agreed_shape_and_values(folder: Path) -> None:
    metrics = json.loads((folder / "results.json").read_text())
    assert set(metrics) == {*METHODS, "score_source", "n_images", "n_patients", "lower_is_better"}
    assert metrics["score_source"] == "simulated"
    assert set(metrics["iqagpt"]["captioning"]) == set(METRICS)
    assert metrics["iqagpt"]["captioning"]["bleu_4"] == 1
    assert metrics["majority"]["captioning"]["bleu_4"] < 1
    assert metrics["iqagpt"]["plcc"]["mean"] == 1
    assert metrics["majority"]["plcc"] == {}
    by_variant = json.loads((folder / "results_by_variant.json").read_text())
    assert set(by_variant["iqagpt"]["ndct"]) == {*KEYS, "mean"}
    assert json.loads((folder / "results/val.json").read_text()).keys() == metrics.keys()


def test_results_hold_tables_and_plots(folder: Path) -> None:
    results = open_artifact(folder / "results", "results")
    assert results.info["score_source"] == "simulated"
    assert {file.name for file in results.path.iterdir()} == {
        *results.manifest["file"],
        "artifact.json",
        "manifest.csv",
    }
    assert set(results.table("accuracy_by_variant")["method"]) == set(METHODS)
    text = (results.path / "tables.md").read_text()
    assert "SIMULATED" in text
    assert all(f"## Table {number}." in text for number in range(1, 5))


def test_equal_inputs_give_equal_bytes(folder: Path) -> None:
    names = sorted(file.name for file in (folder / "results").iterdir())
    pairs = [(folder / "results" / name, folder / "again" / name) for name in names]
    pairs += [(folder / "results.json", folder / "again.json")]
    for first, second in pairs:
        assert first.read_bytes() == second.read_bytes()


def test_missing_baseline_is_one_line_and_leaves_nothing(tmp_path: Path, scored_run: Path) -> None:
    write_table(tmp_path / "predictions/iqagpt.csv", perfect(scored_run, "iqagpt"))
    result = run(tmp_path, scored_run, ["vit_c"])
    assert result.exit_code == 1
    assert "vit_c.csv: no predictions of 'vit_c'" in result.output
    assert "dvc repro baseline@vit_c" in result.output
    assert not (tmp_path / "results").exists()
    assert not (tmp_path / "results.json").exists()


def test_bad_params_are_one_line(tmp_path: Path, scored_run: Path) -> None:
    result = run(tmp_path, scored_run, ["majority", "majority"])
    assert result.exit_code == 1
    assert "evaluate.baselines: expected each name once" in result.output
