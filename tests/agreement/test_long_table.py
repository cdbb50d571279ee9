from pathlib import Path

import pytest
from typer.testing import CliRunner

from iqagpt.agreement.long_table import read_ratings
from iqagpt.artifacts import read_table
from iqagpt.cli import app
from iqagpt.errors import InputError

STUDY = Path(__file__).resolve().parents[2] / "../shared/data/reader_study/scores.csv"
LONG = "slice_id,variant,reader,criterion,score\n" + "".join(
    f"s{k},ndct,{reader},noise,{1 + (k + (reader == 'b' and k == 3)) % 4}\n" for k in range(8) for reader in "ab"
)


@pytest.fixture
def read(tmp_path):
    def read(text, **options):
        (tmp_path / "t.csv").write_text(text)
        return read_ratings(tmp_path / "t.csv", **options)

    return read


def test_a_long_table(read):
    readings, cluster = read(LONG)
    assert cluster == "slice_id"
    assert readings.iloc[0].to_dict() == {
        "item": "s0_ndct", "cluster": "s0", "reader": "a", "criterion": "noise", "score": 1.0, "absent": False,
    }  # fmt: skip
    assert len(readings) == 16


def test_na_is_an_answer_and_an_empty_cell_is_none(read):
    readings, _ = read(
        "item;reader;criterion;score\n1;a;lesion;N/A\n1;b;lesion;\n2;a;lesion;2.5\n2;b;lesion;no lesion\n"
    )
    assert readings["absent"].tolist() == [True, False, False, True]
    assert readings["score"].notna().tolist() == [False, False, True, False]


def test_scores_of_the_pipeline_without_their_median(read):
    text = (
        "image_id,patient_id,reader,consensus,noise,lesion_conspicuity\n"
        "x,p,a,0,1,\nx,p,b,0,2,\nx,p,median,1,2,\ny,p,a,0,3,1\ny,p,b,0,3,2\ny,p,median,1,3,2\n"
    )
    readings, cluster = read(text)
    assert cluster == "patient_id"
    assert set(readings["reader"]) == {"a", "b"}
    assert readings[readings["absent"]]["criterion"].unique().tolist() == ["lesion_conspicuity"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "s3,ndct,b,noise,1",
            "s3,ndct,b,noise,good",
            r"row 9 \(s3_ndct\): column score: expected a number, or N/A, got 'g",
        ),
        ("s3,ndct,b,noise,1", "s3,ndct,b,noise,inf", r"row 9 .*got 'inf'"),
        ("s3,ndct,b,noise,1", "s3,ndct,,noise,1", r"row 9: column reader: empty"),
        ("s3,ndct,b,noise,1", "s2,ndct,b,noise,1", r"row 9 \(s2_ndct\): .*b has rated noise of it in row 7"),
        ("reader", "radiologist", "column reader is missing; found slice_id"),
        ("criterion", "metric", r"column criterion and score \(or name columns by --criteria\) is missing"),
        ("slice_id", "name", r"column image_id \(or slice_id and variant, or item\) is missing"),
        (",b,", ",a,", "expected two readers or more, got a"),
    ],
)
def test_errors_name_row_and_column(read, old, new, message):
    with pytest.raises(InputError, match=message):
        read(LONG.replace(old, new))


def test_columns_named_by_the_user(read):
    with pytest.raises(InputError, match="column patient is missing"):
        read(LONG, cluster="patient")
    with pytest.raises(InputError, match="column blur is missing"):
        read("item,reader,noise\n1,a,2\n1,b,2\n", criteria=["blur"])
    many = "item,reader,noise\n" + "".join(f"{k},{r},{k}\n" for k in range(40) for r in "ab")
    with pytest.raises(InputError, match="criterion noise: 40 different scores; expected at most 30"):
        read(many)


def test_the_command(tmp_path):
    (tmp_path / "t.csv").write_text(LONG)
    result = CliRunner().invoke(app, ["agreement", str(tmp_path / "t.csv"), "-o", str(tmp_path / "out/a.csv")])
    assert result.exit_code == 0, result.output
    assert "No column patient_id" in result.output
    table = read_table(tmp_path / "out/a.csv").set_index("coefficient")
    assert table.loc["raw_agreement", "value"] == pytest.approx(7 / 8)
    assert table.loc["raw_agreement", "clusters"] == 8
    assert set(table.index) == {
        "raw_agreement", "kappa_linear", "kappa_quadratic", "krippendorff_alpha", "icc_2_1", "icc_2_k",
    }  # fmt: skip
    bad = CliRunner().invoke(app, ["agreement", str(tmp_path / "none.csv")])
    assert bad.exit_code == 1
    assert "none.csv: cannot be read" in bad.output
    assert "Traceback" not in bad.output


def test_three_radiologists_agree_as_their_study_says():
    if not STUDY.is_file():
        pytest.skip("the reader study is not beside the repository")
    names = "noise_reduction,contrast_retention,structure_preservation"
    result = CliRunner().invoke(app, ["agreement", str(STUDY), "--criteria", names, "--cluster", "set"])
    assert result.exit_code == 0, result.output
    assert "There are as few as 5 different set" in result.output
    assert "noise_reduction         1 / 2" in result.output
