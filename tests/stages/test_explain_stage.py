"""The stage ``explain``: files, sizes, marks of the source, equal bytes, errors."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from matplotlib.backends.backend_svg import FigureCanvasSVG
from typer.testing import CliRunner, Result

from iqagpt.artifacts import create_artifact, open_artifact
from iqagpt.baselines import vit_c, vit_r
from iqagpt.baselines.vit_heads import MultiHeadViT
from iqagpt.captioner.captioner import Captioner, save_captioner
from iqagpt.captioner.image_encoder import EncoderParams
from iqagpt.captioner.text_stack import TextParams
from iqagpt.captioner.tokenizer import CaptionTokenizer
from iqagpt.criteria import KEYS
from iqagpt.weights import save_weights
from stages.explain import app
from tests.evaluation.prediction_tables import constant, perfect

ENCODER = EncoderParams(stem="conv", patch_size=16, width=16, depth=1, heads=2)
PARAMS = {
    "explain": {"embedding": {"seeds": 2, "perplexity": 5.0, "neighbours": 2, "seed": 1}, "images": 4, "cards": 2}
}
SVG = ("fig2_readings", "fig4_examples", "fig6_predictions", "fig7_features", "fig8_token_attention", "fig9_word_maps")


def run(root: Path, output: str = "figures", **changed: Path) -> Result:
    (root / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    names = ("model", "baselines", "variants", "captions", "split", "scores", "predictions", "results", "reports")
    options = {name: changed.get(name, root / name) for name in names}
    options |= {"output": root / output, "metrics": root / f"{output}.json", "params": root / "params.yaml"}
    return CliRunner().invoke(app, [word for name, value in options.items() for word in (f"--{name}", str(value))])


def write_models(root: Path) -> None:
    torch.manual_seed(0)
    tokenizer = CaptionTokenizer.load(root / "captions")
    text = TextParams(width=16, text_layers=0, fusion_layers=1, heads=2, intermediate=16, dropout=0.0)
    with create_artifact(root / "model", "captioner") as writer:
        save_captioner(
            writer, Captioner(ENCODER, text, image_size=64, vocabulary_size=tokenizer.size).eval(), tokenizer
        )
        writer.info["window_hu"] = [-160.0, 240.0]
    for name, outputs in (("vit_c", vit_c.OUTPUTS), ("vit_r", vit_r.OUTPUTS)):
        with create_artifact(root / f"baselines/{name}", "baseline") as writer:
            model = MultiHeadViT(ENCODER, 8, 64, outputs)
            save_weights(writer, model)
            writer.info.update(config=model.config, window_hu=[-160.0, 240.0], name=name)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, scored_run: Path) -> Path:
    """A folder with all that the stage reads; it has run twice."""
    root = tmp_path_factory.mktemp("explain")
    for name in ("variants", "captions", "split"):
        shutil.copytree(scored_run / name, root / name)
    mask = np.zeros((12, 64, 64), np.uint8)
    mask[1::2, 20:30, 20:30] = 1
    np.save(root / "variants/lesion_mask.npy", mask)
    write_models(root)
    captions = open_artifact(root / "captions", "captions").manifest
    with create_artifact(root / "scores", "scores") as writer:
        writer.manifest(captions.drop(columns="caption").assign(reader="simulated_1", consensus=1))
    (root / "predictions").mkdir()
    constant(scored_run, "iqagpt").to_csv(root / "predictions/iqagpt.csv", index=False)
    for name in ("vit_c", "vit_r"):
        perfect(scored_run, name).to_csv(root / f"predictions/{name}.csv", index=False)
    with create_artifact(root / "results", "results") as writer:
        (writer.path / "accuracy_by_variant.csv").write_text("method,variant\niqagpt,ndct\nvit_c,ndct\nvit_r,ndct\n")
    with create_artifact(root / "reports", "reports") as writer:
        lines = [
            json.dumps({"image_id": name, "report": "IMAGE QUALITY\nFair.\n\nIMPRESSION\n<&>"})
            for name in captions["image_id"]
        ]
        (writer.path / "reports.jsonl").write_text("\n".join(lines))
    print_svg = FigureCanvasSVG.print_svg

    def note_margins(canvas: FigureCanvasSVG, file: Path, **facts: object) -> None:
        print_svg(canvas, file, **facts)
        box, (width, height) = canvas.figure.get_tightbbox(), canvas.figure.get_size_inches()
        margins = [float(inches) for inches in (box.x0, box.y0, width - box.x1, height - box.y1)]
        (root / f"{Path(file).stem}.margins.json").write_text(json.dumps(margins))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FigureCanvasSVG, "print_svg", note_margins)
        for output in ("figures", "again"):
            result = run(root, output)
            assert result.exit_code == 0, result.output
    return root


def test_figures_are_vector_of_a_journal_s_width(root: Path) -> None:
    for name in SVG:
        text = (root / f"figures/{name}.svg").read_text()
        width = float(re.search(r'<svg[^>]* width="([\d.]+)pt"', text)[1])
        assert width / 72 * 25.4 == pytest.approx(175, abs=0.1)
        assert "<text" not in text, "text as outlines needs no font"
        assert "<path" in text
        assert not re.search(r"\b20\d\d-\d\d-\d\d", text)


@pytest.mark.parametrize("name", SVG)
def test_nothing_is_cut_off_at_the_edges(name: str, root: Path) -> None:
    assert min(json.loads((root / f"{name}.margins.json").read_text())) > 0


def test_the_index_lists_every_figure_and_says_whose_scores(root: Path) -> None:
    index = json.loads((root / "figures/figures.json").read_text())
    assert [entry["file"].removesuffix(".svg") for entry in index] == list(SVG)
    assert {file.name for file in (root / "figures").glob("*.svg")} == {entry["file"] for entry in index}
    for entry in index:
        assert set(entry) == {"file", "title", "caption", "alt"}
        assert all(entry.values())
        if entry["file"] in ("fig2_readings.svg", "fig4_examples.svg", "fig6_predictions.svg", "fig7_features.svg"):
            assert "simulated reader" in entry["caption"]
            assert "1 best – 4 worst" in entry["caption"]
            text = (root / "figures" / entry["file"]).read_text()
            assert "simulated reader" in text
            assert "1 best – 4 worst" in text


def test_metrics_and_tables(root: Path) -> None:
    metrics = json.loads((root / "figures.json").read_text())
    assert metrics["score_source"] == "simulated"
    assert set(metrics["features"]) == {"iqagpt", "vit_c", "vit_r"}
    assert set(metrics["token_attention"]) == set(KEYS)
    # The reader's captions state the lesion, IQAGPT's here say that there is none: both have deciding words.
    assert metrics["grad_cam"]["reader"]["area_share"] == pytest.approx(1 / 16)
    assert metrics["grad_cam"]["reader"]["images"] == 4
    assert metrics["grad_cam"]["iqagpt"]["lesion_conspicuity"]["gain"] >= 0
    figures = open_artifact(root / "figures", "figures")
    assert set(figures.manifest["file"]) <= {file.name for file in figures.path.iterdir()}
    shares = figures.table("predictions").groupby(["method", "criterion"])["share"].sum()
    np.testing.assert_allclose(shares, 1)
    attention = figures.table("token_attention").groupby("source")[["share", "equal_share"]].sum()
    np.testing.assert_allclose(attention, 1, atol=1e-4)
    assert figures.table("accuracy").set_index("variant")["accuracy"].to_dict() == pytest.approx(
        {"ndct": 0.125, "map_nn_d5": 0.875, "map_nn_d1": 0.125, "ldct": 0.125}
    )
    assert figures.table("classes")["noise_truth"].iloc[0] == "1 (simulated)"


def test_equal_inputs_give_equal_bytes(root: Path) -> None:
    for file in sorted((root / "figures").iterdir()):
        assert file.read_bytes() == (root / "again" / file.name).read_bytes(), file.name
    assert (root / "figures.json").read_bytes() == (root / "again.json").read_bytes()


def test_missing_reports_are_one_line_and_leave_nothing(root: Path, tmp_path: Path) -> None:
    result = run(root, "none", reports=tmp_path)
    assert result.exit_code == 1
    assert "no 'reports' artifact here" in result.output
    assert not (root / "none").exists()


def test_reports_that_are_none(root: Path, tmp_path: Path) -> None:
    with create_artifact(tmp_path / "reports", "reports") as writer:
        (writer.path / "reports.jsonl").write_text('{"image_id": "a"}\n')
    result = run(root, "none", reports=tmp_path / "reports")
    assert result.exit_code == 1
    assert "cannot be read as reports" in result.output
