"""Stages ``denoisers`` and ``denoise``: eight qualities of every slice and further ones, errors in one line."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from typer.testing import CliRunner

from iqagpt.artifacts import create_artifact, open_artifact
from iqagpt.denoise.variants import compare
from stages import denoise, denoisers

SIDE = 48
VARIANTS = ["ndct", "ldct", *(f"map_nn_d{level}" for level in range(1, 6)), "red_cnn"]
PARAMS = {
    "denoisers": {
        "map_nn": {
            "weights": "presets/none.txt", "levels": 5, "width": 4, "steps": 40, "batch_size": 2, "patch_size": 32,
            "lr": 0.002, "steps_per_epoch": 10, "critic_steps": 1, "critic_width": 2, "gradient_penalty": 10.0,
            "mse_weight": 50.0, "edge_weight": 50.0, "seed": 1,
        },
        "red_cnn": {
            "weights": "presets/none.txt", "width": 4, "steps": 40, "batch_size": 2, "patch_size": 32,
            "lr": 0.002, "final_lr": 0.001, "seed": 1,
        },
    },
    "denoise": {"extra": [], "code": "presets/none.txt", "folder": "presets/none.txt"},
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the inputs of both stages and the two denoisers."""
    root = tmp_path_factory.mktemp("denoise")
    rng = np.random.default_rng(0)
    scene = 40 + 60 * (np.indices((SIDE, SIDE)).sum(axis=0) % 24 < 12)
    ids = ["A_000", "B_000", "C_000"]
    with create_artifact(root / "lesions", "lesions") as writer:
        for name, noise_hu in (("ndct", 5), ("ldct", 30)):
            writer.array(name, (3, SIDE, SIDE), np.int16)[:] = scene + rng.normal(0, noise_hu, (3, SIDE, SIDE))
        writer.array("lesion_mask", (3, SIDE, SIDE), np.uint8)[1, 5:9, 5:9] = 1
        table = {"slice_id": ids, "patient_id": list("ABC"), "row": range(3), "has_lesion": [0, 1, 0]}
        writer.manifest(pd.DataFrame(table | {"lesion_row_px": [np.nan, 7.0, np.nan]}))
        writer.info |= {"window_hu": [-160.0, 240.0], "data_source": "made for tests"}
    with create_artifact(root / "split", "split") as writer:
        writer.manifest(pd.DataFrame({"slice_id": ids, "split": ["train", "train", "test"]}))
    (root / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    for name in ("map_nn", "red_cnn"):
        result = run_denoisers(root, name)
        assert result.exit_code == 0, result.output
    return root


@pytest.fixture(autouse=True, scope="module")
def one_cpu_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IQAGPT_DEVICE", "cpu")
        yield
    torch.set_num_threads(threads)


def run_denoisers(root, name, *, output=None, params="params.yaml"):
    options = {"--lesions": root / "lesions", "--split": root / "split", "--params": root / params}
    options["--output"] = output or root / "models" / name
    return CliRunner().invoke(denoisers.app, [name, *(str(part) for pair in options.items() for part in pair)])


def run_denoise(root, name="variants", **changes):
    params = root / f"{name}.yaml"
    params.write_text(yaml.safe_dump(PARAMS | {"denoise": PARAMS["denoise"] | changes}))
    options = {"--lesions": root / "lesions", "--denoisers": root / "models", "--output": root / name}
    options |= {"--metrics": root / f"{name}.json", "--params": params}
    return CliRunner().invoke(denoise.app, [str(part) for pair in options.items() for part in pair])


def test_denoisers_writes_weights_configuration_and_curve(folder):
    artifact = open_artifact(folder / "models/map_nn", "denoiser")
    assert artifact.info["name"] == "map_nn"
    assert artifact.info["levels"] == 5
    assert artifact.info["window_hu"] == [-160.0, 240.0]
    assert (artifact.path / "weights.safetensors").is_file()
    assert artifact.table("curve")["step"].iloc[-1] == 40


def test_denoise_writes_eight_variants_of_every_slice(folder):
    assert run_denoise(folder).exit_code == 0
    artifact, lesions = open_artifact(folder / "variants", "variants"), open_artifact(folder / "lesions", "lesions")
    assert artifact.info["variants"] == VARIANTS
    assert artifact.info["data_source"] == "made for tests"
    assert artifact.info["window_hu"] == [-160.0, 240.0]
    for variant in VARIANTS:
        assert artifact.array(variant).shape == (3, SIDE, SIDE)
        assert artifact.array(variant).dtype == np.int16
    for name in ("ndct", "ldct", "lesion_mask"):
        assert np.array_equal(artifact.array(name), lesions.array(name))
    assert not np.array_equal(artifact.array("map_nn_d1"), artifact.array("map_nn_d5"))


def test_manifest_has_a_row_for_every_image(folder):
    run_denoise(folder)
    table = open_artifact(folder / "variants", "variants").manifest
    assert list(table.columns[:5]) == ["image_id", "slice_id", "patient_id", "variant", "row"]
    assert table["variant"].tolist() == [variant for variant in VARIANTS for _ in range(3)]
    assert table["image_id"].iloc[4] == "B_000_ldct"
    assert table["row"].tolist() == [0, 1, 2] * 8
    assert table["lesion_row_px"].isna().tolist() == [True, False, True] * 8


def test_metrics_say_that_denoising_helps_and_in_which_window(folder):
    run_denoise(folder)
    metrics = json.loads((folder / "variants.json").read_text())
    assert set(metrics) == {*VARIANTS[1:], "window_hu"}
    assert metrics["window_hu"] == {"lower": -160.0, "upper": 240.0}
    assert metrics["map_nn_d5"]["rmse_hu"] < 0.9 * metrics["ldct"]["rmse_hu"]
    assert metrics["red_cnn"]["psnr_db"] > metrics["ldct"]["psnr_db"] + 1
    assert set(metrics["ldct"]) == {"psnr_db", "rmse_hu", "ssim"}


def test_every_image_has_its_own_fidelity_and_the_metrics_are_their_means(folder):
    run_denoise(folder)
    variants = open_artifact(folder / "variants", "variants")
    table = variants.table("fidelity")
    images = variants.manifest
    assert sorted(table["image_id"]) == sorted(images.loc[images["variant"] != "ndct", "image_id"])
    metrics = json.loads((folder / "variants.json").read_text())
    for variant, rows in table.groupby("variant"):
        assert rows["ssim"].mean() == pytest.approx(metrics[variant]["ssim"], abs=1e-5)
    ndct, ldct = variants.array("ndct"), variants.array("ldct")
    own = compare(ldct[1], ndct[1], tuple(variants.info["window_hu"]))
    row = table.set_index("image_id").loc["B_000_ldct"]
    assert row["rmse_hu"] == pytest.approx(own["rmse_hu"], rel=1e-5)


def test_a_second_run_gives_the_same_bytes(folder):
    run_denoise(folder)
    run_denoise(folder, "again")
    for file in sorted((folder / "variants").iterdir()):
        assert file.read_bytes() == (folder / "again" / file.name).read_bytes(), file.name
    assert (folder / "variants.json").read_bytes() == (folder / "again.json").read_bytes()


def test_faults_are_one_line_and_leave_nothing(folder, tmp_path):
    (folder / "wrong.yaml").write_text(
        yaml.safe_dump({"denoisers": {"red_cnn": PARAMS["denoisers"]["red_cnn"] | {"lr": 0}}})
    )
    result = run_denoisers(folder, "red_cnn", output=tmp_path / "out", params="wrong.yaml")
    assert result.exit_code == 1
    assert "denoisers.red_cnn.lr: expected a number above 0" in result.output
    assert run_denoisers(folder, "bm3d", output=tmp_path / "out").exit_code == 2
    assert not (tmp_path / "out").exists()


def test_published_weights_need_the_published_width(folder, tmp_path):
    section = PARAMS["denoisers"]["map_nn"] | {"weights": str(tmp_path / "ckpt.data")}
    (folder / "weights.yaml").write_text(yaml.safe_dump({"denoisers": {"map_nn": section}}))
    result = run_denoisers(folder, "map_nn", output=tmp_path / "out", params="weights.yaml")
    assert result.exit_code == 1
    assert "denoisers.map_nn.width: expected 32" in result.output


def test_a_missing_denoiser_is_named(folder, tmp_path):
    options = ["--lesions", folder / "lesions", "--denoisers", tmp_path, "--output", tmp_path / "out"]
    options += ["--params", folder / "params.yaml"]
    result = CliRunner().invoke(denoise.app, [str(part) for part in [*options, "--metrics", tmp_path / "m.json"]])
    assert result.exit_code == 1
    assert "no 'denoiser' artifact here" in result.output
    assert not (tmp_path / "out").exists()


def test_further_variants_stand_beside_the_eight(folder, tmp_path):
    """A built-in one, a function, a folder: rows, arrays and metrics as for the others, the eight unchanged."""
    run_denoise(folder)
    code = tmp_path / "mine.py"
    code.write_text("def halve(ldct):\n    return ldct / 2 + 20\n")
    ldct = open_artifact(folder / "lesions", "lesions").array("ldct")
    for row, name in enumerate(("A_000", "B_000", "C_000")):
        (tmp_path / "images/tool").mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / f"images/tool/{name}.npy", ldct[row].astype(np.float32) + 0.6)
    changes = {"extra": ["halve", "gauss", "blend_red_cnn"], "code": str(code), "folder": str(tmp_path / "images")}
    result = run_denoise(folder, "further", **changes)
    assert result.exit_code == 0, result.output
    further, eight = open_artifact(folder / "further", "variants"), open_artifact(folder / "variants", "variants")
    assert further.info["variants"] == [*VARIANTS, "halve", "gauss", "blend_red_cnn", "tool"]
    assert further.manifest["variant"].tolist() == [v for v in further.info["variants"] for _ in range(3)]
    assert further.manifest["image_id"].iloc[-1] == "C_000_tool"
    for variant in VARIANTS:
        assert np.array_equal(further.array(variant), eight.array(variant))
    assert np.array_equal(further.array("halve"), np.rint(ldct.astype(np.float32) / 2 + 20))
    assert np.array_equal(further.array("tool"), ldct + 1)
    metrics = json.loads((folder / "further.json").read_text())
    assert set(metrics) == {*further.info["variants"][1:], "window_hu"}
    assert metrics["tool"]["rmse_hu"] == pytest.approx(metrics["ldct"]["rmse_hu"], rel=0.05)
    run_denoise(folder, "once_more", **changes)
    for file in sorted((folder / "further").iterdir()):
        assert file.read_bytes() == (folder / "once_more" / file.name).read_bytes(), file.name


def test_a_function_that_fails_is_one_line_and_leaves_nothing(folder, tmp_path):
    code = tmp_path / "mine.py"
    code.write_text("def broken(ldct):\n    return 1 / 0\n")
    result = run_denoise(folder, "broken", extra=["broken"], code=str(code))
    assert result.exit_code == 1
    assert "mine.py: broken, slice A_000: ZeroDivisionError (line 2 of mine.py): division by zero" in result.output
    assert "Traceback" not in result.output
    assert not (folder / "broken").exists()
