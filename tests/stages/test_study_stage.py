"""A reader study through all its stages at the smallest size: import to report, three folds, starting from a captioner."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import load_file
from typer.testing import CliRunner

from iqagpt.artifacts import create_artifact, open_artifact, read_table
from iqagpt.captioner.captioner import Captioner, save_captioner
from iqagpt.captioner.image_encoder import EncoderParams
from iqagpt.captioner.text_stack import TextParams
from iqagpt.captioner.tokenizer import CaptionParams, build_tokenizer
from iqagpt.cli import app as cli
from iqagpt.evaluation import comparison
from stages import baseline, caption, evaluate, predict, pretrain, report, study, train
from tests.evaluation.prediction_tables import count_equal
from tests.study.study_files import write_training_study

REPOSITORY = Path(__file__).resolve().parents[2]
BASELINES = ["majority", "majority_by_variant", "noise_sd", "clip_iqa", "clip_iqa_plus", "minigpt4"]
ENCODER = EncoderParams(stem="conv", patch_size=32, width=16, depth=1, heads=2)
TEXT = TextParams(width=16, text_layers=1, fusion_layers=1, heads=2, intermediate=24, dropout=0.0)


def run(app: Any, *words: object) -> str:
    result = CliRunner().invoke(app, list(map(str, words)))
    assert result.exit_code == 0, result.output
    return result.output


def write_captioner(folder: Path) -> Path:
    tokenizer = build_tokenizer(CaptionParams("presets/none.txt"))
    torch.manual_seed(3)
    model = Captioner(ENCODER, TEXT, image_size=64, vocabulary_size=tokenizer.size)
    with create_artifact(folder, "captioner") as writer:
        save_captioner(writer, model, tokenizer)
        writer.info["window_hu"] = [-150.0, 250.0]
    return folder


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which everything has run."""
    root = tmp_path_factory.mktemp("study")
    write_training_study(root / "mine")
    write_captioner(root / "start")
    params = root / "params.yaml"
    content = yaml.safe_load((REPOSITORY / "study/params.yaml").read_text(encoding="utf-8"))
    content["train"] |= {"epochs": 2, "lr": 1e-4, "keep": "last"}
    content["baseline"]["noise_sd"]["min_leaf"] = 1
    for clip in (content["baseline"]["clip_iqa"], content["baseline"]["clip_iqa_plus"]["clip"]):
        clip["builtin"]["steps"] = 12
    content["baseline"]["minigpt4"]["builtin"] |= {"steps": 20, "first_steps": 0}
    content["baseline"]["minigpt4"] |= {"epochs": 1, "iterations": 4, "max_tokens": 60}
    content["evaluate"] |= {"baselines": BASELINES, "draws": 200}
    params.write_text(yaml.safe_dump(content))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IQAGPT_DEVICE", "cpu")
        patch.setenv("IQAGPT_CHECKPOINTS", "off")
        patch.chdir(REPOSITORY)
        patch.setattr(comparison, "count_captions", count_equal)
        run(cli, "study", root / "mine", "--start", root / "start", "--params", params)
        given = ["--params", params]
        variants, captions, folds = (root / name for name in ("variants", "captions", "folds"))
        places = ["--scores", root / "scores", "--folds", folds, "--metrics", root / "study.json"]
        run(study.app, "--variants", variants, *places, *given)
        run(caption.app, "--scores", root / "scores", "--output", captions, *given)
        for fold in map(str, range(3)):
            data = ["--variants", variants, "--split", folds / fold, *given]
            start = root / "pretrained" / fold
            run(pretrain.app, *data, "--captions", captions, "--output", start, "--metrics", root / "pretrain.json")
            fitted = [*data, "--captions", captions, "--pretrained", start]
            model, tables = root / "iqagpt" / fold, root / "predictions" / fold
            run(train.app, *fitted, "--output", model, "--metrics", root / "train.json")
            table = tables / "iqagpt.csv"
            run(predict.app, *data, "--model", model, "--output", table, "--metrics", root / "predict.json")
            run(
                report.app,
                "--predictions",
                table,
                "--output",
                root / "reports" / fold,
                "--metrics",
                root / "r.json",
                *given,
            )
            for name in BASELINES:
                outputs = ["--output", root / "baseline" / fold / name, "--predictions", tables / f"{name}.csv"]
                run(baseline.app, name, *fitted, *outputs)
        data = ["--variants", variants, "--captions", captions, "--split", folds, "--predictions", root / "predictions"]
        outputs = ["--output", root / "results", "--metrics", root / "m.json", "--by-variant", root / "by_variant.json"]
        run(evaluate.app, *data, *outputs, *given)
    torch.set_num_threads(threads)
    return root


def test_command_writes_what_study_and_captioner_say_and_keeps_the_rest(root):
    content = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    assert content["study"]["names"] == ["mine"]
    assert content["study"]["folds"] == [0, 1, 2]
    assert (content["study"]["matrix"], content["study"]["window_hu"]) == (64, [-150.0, 250.0])
    assert content["pretrain"]["source"] == "checkpoint"
    assert content["pretrain"]["encoder"]["width"] == 16
    assert content["train"]["lr"] == 1e-4


def test_images_come_in_by_variant_in_hu(root):
    variants = open_artifact(root / "variants", "variants")
    assert variants.info["variants"] == ["net_0", "net_1", "net_2", "net_3"]
    table = variants.manifest.set_index("image_id")
    row = table.loc["images/c2_3.png"]
    assert (row["variant"], row["row"], row["patient_id"]) == ("net_3", 2, "case 2")
    image = variants.array("net_3")[2]
    assert abs(image.mean() - 50) < 3
    assert abs(image.std() - 5 * 2.5**3) < 6


def test_each_image_is_tested_once_by_a_fold_that_did_not_train_on_its_set(root):
    tested = []
    for fold in range(3):
        sides = open_artifact(root / f"folds/{fold}", "split").manifest.set_index("slice_id")["split"]
        table = read_table(root / f"predictions/{fold}/iqagpt.csv")
        assert set(table["split"]) == {"test"}
        assert sides[sides == "test"].index.tolist() == [f"case {fold}"]
        assert all(name.startswith(f"images/c{fold}_") for name in table["image_id"])
        tested += table["image_id"].tolist()
    assert len(tested) == len(set(tested)) == 12


def test_training_starts_from_the_captioner(root):
    theirs = load_file(root / "start/weights.safetensors")
    for fold in range(3):
        first = load_file(root / f"pretrained/{fold}/weights.safetensors")
        assert first.keys() == theirs.keys()
        assert all(torch.equal(first[name], theirs[name]) for name in theirs)
    fitted = load_file(root / "iqagpt/0/weights.safetensors")
    moved = [(fitted[name] - theirs[name]).abs().max().item() for name in theirs if theirs[name].ndim > 1]
    assert 0 < max(moved) < 5e-3


def test_a_captioner_of_another_geometry_is_refused_with_the_keys(root, tmp_path):
    content = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    content["pretrain"]["encoder"]["depth"] = 2
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))
    words = [w for n in ("variants", "captions") for w in (f"--{n}", root / n)]
    words += ["--split", root / "folds/0", "--output", tmp_path / "out", "--metrics", tmp_path / "m.json"]
    result = CliRunner().invoke(pretrain.app, [*map(str, words), "--params", str(tmp_path / "params.yaml")])
    assert result.exit_code == 1
    assert "pretrain.encoder.depth 1 (now 2)" in result.output


def test_all_folds_count_together_and_lesions_in_nothing(root):
    metrics = json.loads((root / "m.json").read_text())
    assert (metrics["n_images"], metrics["n_patients"], metrics["score_source"]) == (12, 3, "reader")
    for method in ("iqagpt", *BASELINES):
        accuracy = metrics[method]["accuracy"]
        assert set(accuracy) == {"noise", "small_structures", "diagnostic_confidence", "mean"}
        assert accuracy["mean"] == pytest.approx(
            np.mean([accuracy[key] for key in accuracy if key != "mean"]), abs=1e-5
        )
        assert "lesion" not in metrics[method]
    # Noise is what the readers saw: the noise measure must find it, and what the variant tells is told.
    chance = metrics["majority"]["accuracy"]["mean"]
    assert metrics["noise_sd"]["accuracy"]["mean"] > chance + 0.3
    assert metrics["majority_by_variant"]["accuracy"]["mean"] > chance + 0.3


@pytest.mark.parametrize("name", ["clip_iqa", "clip_iqa_plus"])
def test_clip_learns_what_a_study_knows_and_finds_no_lesion(root, name):
    """Neither organ nor lesion is known of a study, and none of its readers was asked for one."""
    for fold in range(3):
        artifact = open_artifact(root / f"baseline/{fold}/{name}", "baseline")
        assert artifact.info["facts"] == ["blur", "dose"]
        table = read_table(root / f"predictions/{fold}/{name}.csv")
        assert len(table) == 4
        assert (table["weights"] == "builtin").all()
        assert table["caption"].str.contains("Subjective visual lesion conspicuity: no lesion").all()
        assert table["lesion_conspicuity"].isna().all() and table["noise"].between(1, 4).all()


def test_every_rival_has_intervals_in_the_tables_of_accuracy_and_correlation(root):
    for number in (2, 3):
        table = open_artifact(root / "results", "results").table(f"table{number}")
        assert set(BASELINES) <= set(table["method"])
    estimates = open_artifact(root / "results", "results").table("estimates")
    for name in BASELINES:
        found = estimates[(estimates["method"] == name) & (estimates["measure"] == "accuracy")]
        assert found[["value", "lower", "upper"]].notna().all(axis=None) and len(found) >= 4


def test_pooled_accuracy_is_that_of_the_folds_tables(root):
    truth = open_artifact(root / "captions", "captions").manifest.set_index("image_id")
    tables = pd.concat([read_table(root / f"predictions/{fold}/noise_sd.csv") for fold in range(3)])
    right = tables["noise"].to_numpy() == truth.loc[tables["image_id"], "noise"].to_numpy(dtype=float)
    metrics = json.loads((root / "m.json").read_text())
    assert metrics["noise_sd"]["accuracy"]["noise"] == pytest.approx(right.mean(), abs=1e-5)


def test_tables_say_what_was_not_scored_and_how_it_was_tested(root):
    text = (root / "results/tables.md").read_text(encoding="utf-8")
    assert "Not scored by the readers" in text
    assert "* Images: reader study mine; its sets are called patients here" in text
    assert "each of 3 folds is predicted by models that were fitted without its patients" in text
    assert "Lesions: found, and scored" not in text
    assert "TOO FEW PATIENTS: 3" in text
    assert "| clip_iqa = CLIP-IQA (builtin weights)" in text
    assert set(open_artifact(root / "results", "results").table("confusion")["criterion"]) == {
        "noise", "small_structures", "diagnostic_confidence",
    }  # fmt: skip


def test_agreement_of_the_readers_is_written(root):
    found = json.loads((root / "study.json").read_text())["reader"]
    assert set(found["agreement"]) == {"noise", "small_structures", "diagnostic_confidence"}
    assert 0.9 < found["agreement"]["noise"]["kappa_quadratic"] < 1


def test_every_image_has_a_report(root):
    assert [len(open_artifact(root / f"reports/{fold}", "reports").manifest) for fold in range(3)] == [4, 4, 4]


def test_one_slice_in_two_sets_stops_the_import(root, tmp_path):
    folder = write_training_study(tmp_path / "leaky")
    (folder / "images/c1_0.png").write_bytes((folder / "images/c0_0.png").read_bytes())
    content = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    content["study"]["root"] = str(folder)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))
    words = ["--variants", "v", "--scores", "s", "--folds", "f", "--metrics", "m.json"]
    words = [str(tmp_path / word) if index % 2 else word for index, word in enumerate(words)]
    result = CliRunner().invoke(study.app, [*words, "--params", str(tmp_path / "params.yaml")])
    assert result.exit_code == 1
    assert "'images/c0_0.png' and 'images/c1_0.png' are of two sets and nearly the same image" in result.output
    assert not (tmp_path / "v").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "no such folder"),
        (["mine", "--start", "mine"], "no 'captioner' artifact here"),
        (["mine", "--folds", "9"], "3 set(s)"),
    ],
)
def test_command_refuses_what_cannot_run_and_changes_nothing(root, tmp_path, words, message):
    params = tmp_path / "params.yaml"
    params.write_bytes((REPOSITORY / "study/params.yaml").read_bytes())
    words = [str(root / word) if word in ("nowhere", "mine") else word for word in words]
    result = CliRunner().invoke(cli, ["study", *words, "--params", str(params)])
    assert result.exit_code == 1
    assert message in result.output
    assert params.read_bytes() == (REPOSITORY / "study/params.yaml").read_bytes()
