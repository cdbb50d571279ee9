"""Do printed figures add up: the paper's known errors, tables of our own, anyone's."""

from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from iqagpt.artifacts import write_table
from iqagpt.cli import app
from iqagpt.errors import InputError
from iqagpt.evaluation.check_table import Grid, check_file, check_grids, check_paper, check_results


def problems(text: str, folder: Path, images: int | None = None) -> list[str]:
    file = folder / "table.csv"
    file.write_text(text)
    return list(check_file(file, images).problems)


def test_the_papers_errors_are_found_and_no_others() -> None:
    """The list of the design's facts on the paper, section 0, recomputed there by hand."""
    found = check_paper().problems
    expected = [
        ("Table 3, PLCC, row ViT-R", "0.531", "0.5067"),
        ("Table 3, SROCC, row ViT-R", "0.519", "0.4323"),
        ("Table 3, SROCC, row CLIP-IQA:", "0.114", "0.1523"),
        ("Table 4, row MAP-NN(3)", "0.520", "0.53"),
        ("Table 4, row RED-CNN", "0.840", "0.87"),
        ("Table 4, column noise", "0.765", "0.77"),
        ("Table 4, column lesion_conspicuity", "0.820", "0.835"),
        ("Table 2, IQAGPT, noise", "0.765", "0.770"),
        ("Table 2, IQAGPT, lesion_conspicuity", "0.820", "0.835"),
        ("Table 2, IQAGPT, mean", "0.702", "0.708"),
    ]
    assert len(found) == len(expected)
    for message, parts in zip(found, expected, strict=True):
        assert all(part in message for part in parts), message


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("name,a,b,mean\nx,.5,.7,.6\n", 0),
        ("name,a,b,Average\nx,.50,.70,.65\n", 1),
        ("name,a,b,Average\nx,.5,.7,.65\n", 0),
        ("name,a,b\nx,.5,.7\ny,.6,.9\nMean,.55,.8\n", 0),
        ("name,a,b\nx,.50,.70\ny,.60,.90\nMean,.55,.90\n", 1),
        ("name,a,b,c,mean\nx,.33,.33,.34,.333\n", 0),  # within the entries' rounding
        ("name;a;b;mean\nx;0.5;n/a;0.5\n", None),  # one entry: nothing to average
    ],
)
def test_means_must_follow_within_rounding(tmp_path: Path, text: str, wrong: int | None) -> None:
    if wrong is None:
        with pytest.raises(InputError, match="no row or column called 'mean'"):
            problems(text, tmp_path)
    else:
        assert len(problems(text, tmp_path)) == wrong


def test_shares_must_be_whole_numbers_of_images(tmp_path: Path) -> None:
    text = "name,a,b\nx,.77,.52\ny,.96,1.00\n"
    assert problems(text, tmp_path, images=25) == ["table.csv, row x, a: .77 is no share of 25 images (19.25 of them)"]
    assert problems(text, tmp_path, images=1000) == []


def test_percentages_are_shares_and_bare_numbers_above_one_are_none(tmp_path: Path) -> None:
    assert problems("name,a,b,mean\nx,77.5%,52 %,64.75%\n", tmp_path, images=200) == []
    assert problems("name,a,b,mean\nx,77.3%,52%,65%\n", tmp_path, images=200) == [
        "table.csv, row x, a: 0.773 is no share of 200 images (154.60 of them)"
    ]
    assert "no share: expected 0 to 1" in problems("name,a,b,mean\nx,77.5,.5,39\n", tmp_path, images=200)[0]


def test_rows_of_one_name_are_both_checked(tmp_path: Path) -> None:
    text = "name,a,b,mean\nx,.5,.7,.90\nx,.5,.7,.6\n"
    assert problems(text, tmp_path) == ["table.csv, row x: the mean is given as .90, but its 2 entries average to 0.6"]
    with pytest.raises(InputError, match="line 4: a second row of means"):
        problems("name,a,b\nx,.5,.7\nmean,.5,.7\nAverage,.5,.7\n", tmp_path)


def test_what_is_no_finite_number_is_no_figure(tmp_path: Path) -> None:
    assert problems("name,a,b,c,mean\nx,.5,nan,.7,.6\n", tmp_path) == []
    file = own_tables(tmp_path, 0.5, 0.5) / "table2.csv"
    file.write_text(file.read_text().replace(",0.5,", ",half,", 1))
    with pytest.raises(InputError, match=r"table2\.csv, line 2: here: expected a number"):
        check_file(file, None)


def own_tables(folder: Path, mean: float, share: float) -> Path:
    rows = [
        ("iqagpt", "accuracy", key, value, 128) for key, value in (("noise", share), ("other", 0.5), ("mean", mean))
    ]
    columns = ["method", "measure", "criterion", "here", "images"]
    table = pd.DataFrame(rows, columns=columns).assign(paper_printed=[0.765, None, 0.702])
    write_table(folder / "table2.csv", table)
    write_table(folder / "table3.csv", table.assign(measure="plcc"))
    write_table(folder / "table4.csv", table.rename(columns={"method": "variant"}).drop(columns="measure"))
    return folder


def test_tables_of_our_own_know_their_images(tmp_path: Path) -> None:
    verdict = check_results(own_tables(tmp_path, (100 / 128 + 0.5) / 2, 100 / 128))
    assert verdict.problems == ()
    assert (verdict.means, verdict.shares) == (3, 4)
    verdict = check_results(own_tables(tmp_path, 0.7, 0.78))
    assert len(verdict.problems) == 5
    assert len(check_file(tmp_path / "table2.csv", None).problems) == 2


def test_a_mean_row_and_column_are_checked_where_they_cross() -> None:
    cells = {"x": {"a": "0.4", "b": "0.6", "mean": "0.5"}, "mean": {"a": "0.4", "b": "0.6", "mean": "0.7"}}
    assert len(check_grids([Grid("t", cells)]).problems) == 1


def test_the_command_says_what_it_checked(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["check-table", "paper"])
    assert result.exit_code == 1
    assert "checked: 24 means, 40 shares; 10 do not add up" in result.output
    folder = own_tables(tmp_path, (100 / 128 + 0.5) / 2, 100 / 128)
    result = CliRunner().invoke(app, ["check-table", str(folder)])
    assert (result.exit_code, result.output) == (0, "checked: 3 means, 4 shares; 0 do not add up\n")
    result = CliRunner().invoke(app, ["check-table", str(tmp_path / "absent.csv")])
    assert result.exit_code == 1
    assert "absent.csv: cannot be read" in result.output
