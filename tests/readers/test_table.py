import numpy as np
import pandas as pd
import pytest

from iqagpt.artifacts import create_artifact, open_artifact
from iqagpt.errors import InputError
from iqagpt.readers.table import read_scores

HEAD = "image_id,noise,small_structures,lesion_conspicuity,diagnostic_confidence\n"
ROWS = ["A_000_ndct,1,1,2,1\n", "A_001_ndct,1,2,N/A,1\n", "A_000_ldct,4,4,4,4\n", "A_001_ldct,3,4,,3\n"]


@pytest.fixture(scope="module")
def variants(tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "variants"
    rows = [
        {
            "image_id": f"A_{k:03d}_{variant}",
            "slice_id": f"A_{k:03d}",
            "patient_id": "A",
            "variant": variant,
            "has_lesion": 1 - k,
        }
        for variant in ("ndct", "ldct")
        for k in range(2)
    ]
    with create_artifact(path, "variants") as writer:
        writer.manifest(pd.DataFrame(rows))
    return open_artifact(path, "variants")


@pytest.fixture
def read(tmp_path, variants):
    def read(text, encoding="utf-8"):
        file = tmp_path / "scores.csv"
        file.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
        return read_scores(file, variants)

    return read


def test_a_complete_table(read, variants):
    scores = read(HEAD + "".join(reversed(ROWS)))
    assert scores["image_id"].tolist() == variants.manifest["image_id"].tolist()
    assert scores.loc[0, ["slice_id", "patient_id", "variant"]].tolist() == ["A_000", "A", "ndct"]
    assert scores["noise"].tolist() == [1, 1, 4, 3]
    assert scores["lesion_conspicuity"].isna().tolist() == [False, True, False, True]
    assert set(scores["score_source"]) == {"reader"}
    assert set(scores["reader"]) == {"reader_1"}


@pytest.mark.parametrize("absent", ["", "N/A", "n/a", "NA", "no lesion", "No lesion"])
def test_ways_to_say_no_lesion(read, absent):
    assert read(HEAD + "".join(ROWS).replace("N/A", absent))["lesion_conspicuity"].isna().sum() == 2


def test_a_real_lesion_may_be_scored_where_none_was_simulated(read):
    assert read(HEAD + "".join(ROWS).replace("N/A", "3")).loc[1, "lesion_conspicuity"] == 3


def test_slice_and_variant_instead_of_image(read):
    head = HEAD.replace("image_id", "slice_id,variant")
    rows = "".join(ROWS).replace("_ndct", ",ndct").replace("_ldct", ",ldct")
    assert read(head + rows)["noise"].tolist() == [1, 1, 4, 3]


def test_what_a_spreadsheet_writes(read):
    text = (HEAD + "".join(ROWS)).replace(",", ";").replace("\n", "\r\n").replace(";4;4;4", ";4.0; 4 ;4")
    assert read(text, "utf-8-sig")["small_structures"].tolist() == [1, 2, 4, 4]


def test_further_columns_are_ignored(read):
    lines = (HEAD + "".join(ROWS)).splitlines()
    assert len(read("\n".join(f"{line},{'comment' if i == 0 else 'x'}" for i, line in enumerate(lines)))) == 4


def test_two_readers(read):
    lines = [f"{row.strip()},{name}\n" for row in ROWS for name in ("r2", "r1")]
    scores = read(HEAD.replace("\n", ",reader\n") + "".join(lines))
    assert scores["reader"].tolist() == ["r1", "r2"] * 4


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("A_000_ldct,4,4,4,4", "A_000_ldct,5,4,4,4", r"row 4 \(A_000_ldct\): column noise: .*1 \(best\) to 4 .*'5'"),
        ("A_000_ldct,4,4,4,4", "A_000_ldct,4,4,4,0", r"row 4 .*column diagnostic_confidence: .*'0'"),
        ("A_000_ldct,4,4,4,4", "A_000_ldct,4,2.5,4,4", r"row 4 .*column small_structures: .*'2.5'"),
        ("A_000_ldct,4,4,4,4", "A_000_ldct,nan,4,4,4", r"row 4 .*column noise: .*'nan'"),
        ("A_000_ldct,4,4,4,4", "A_000_ldct,4,4,four,4", r"lesion_conspicuity: .*or N/A for no lesion, got 'four'"),
        ("A_000_ldct,4,4,4,4", "A_000_ldct,4,4,N/A,4", r"row 4 .*'N/A', but a lesion was simulated"),
        ("A_000_ldct,4,4,4,4", "A_000_ldct,,4,4,4", r"row 4 .*column noise: .*got ''"),
        ("A_000_ldct", "B_000_ldct", r"row 4 \(B_000_ldct\): column image_id: no such image"),
        ("A_000_ldct", "A_000_ndct", r"row 4 \(A_000_ndct\): column image_id: reader_1 has scored this image in row 2"),
        ("A_000_ldct,4,4,4,4\n", "", r"no row for 1 of 4 images, the first is A_000_ldct"),
        (",noise", ",nose", r"column noise is missing; found image_id, nose"),
        ("image_id", "image", r"column image_id \(or slice_id and variant\) is missing"),
    ],
)  # fmt: skip
def test_errors_name_row_and_column(read, old, new, message):
    with pytest.raises(InputError, match=message):
        read((HEAD + "".join(ROWS)).replace(old, new))


def test_many_errors_are_counted_and_not_all_shown(read):
    with pytest.raises(InputError, match=r"9 problem\(s\)(.|\n)*and 4 more") as error:
        read((HEAD + "".join(ROWS)).replace(",1", ",7").replace(",3", ",9").replace(",4,4,4,4", ",8,4,4,8"))
    assert len(str(error.value).splitlines()) == 7


@pytest.mark.parametrize("content", [b"\xff\xfe\x00\x01", b"", b'image_id,"noise\n'])
def test_what_is_no_table(read, content):
    with pytest.raises(InputError, match=r"scores\.csv"):
        read(content)


def test_an_absent_file(tmp_path, variants):
    with pytest.raises(InputError, match="cannot be read"):
        read_scores(tmp_path / "none.csv", variants)
    with pytest.raises(InputError, match="cannot be read"):
        read_scores(tmp_path, variants)


def test_scores_are_whole_numbers(read):
    assert read(HEAD + "".join(ROWS))["lesion_conspicuity"].dtype == pd.Int64Dtype()
    assert np.issubdtype(read(HEAD + "".join(ROWS))["noise"].to_numpy(dtype=int).dtype, np.integer)


LONG_HEAD = "slice_id,variant,reader,criterion,score\n"


def long_rows(readers=("r1", "r2")):
    rows = []
    for row in ROWS:
        image, *scores = row.strip().split(",")
        for reader in readers:
            for key, score in zip(HEAD.strip().split(",")[1:], scores, strict=True):
                rows.append(f"{image[:5]},{image[6:]},{reader},{key},{score or 'N/A'}")
    return rows


def test_a_long_table_is_the_wide_one(read):
    rows = long_rows()
    found = read(LONG_HEAD + "\n".join(reversed(rows)))
    wide = read(HEAD.replace("\n", ",reader\n") + "".join(f"{row.strip()},{r}\n" for row in ROWS for r in ("r1", "r2")))
    pd.testing.assert_frame_equal(found, wide)
    assert len(found) == 8


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("A_000,ldct,r1,noise,4", "A_000,ldct,r1,noise,5", r"row 18 \(A_000_ldct\): column score \(noise\): .*'5'"),
        ("A_000,ldct,r1,noise,4", "A_000,ldct,r1,noise,N/A", r"row 18 .*column score \(noise\): .*got 'N/A'"),
        ("A_000,ldct,r1,noise,4", "A_009,ldct,r1,noise,4", r"row 18 \(A_009_ldct\): column slice_id, variant: no such"),
        ("A_000,ldct,r1,noise,4", "A_000,lcdt,r1,noise,4", r"row 18 \(A_000_lcdt\): column slice_id, variant: no such"),
        ("A_000,ldct,r1,noise,4", "A_000,ldct,r1,nose,4", r"row 18 .*column criterion: unknown 'nose' \(did you mean 'n"),
        ("A_000,ldct,r1,noise,4", "A_000,ldct,,noise,4", r"row 18 .*column reader: expected a name other than 'median'"),
        ("A_000,ldct,r1,noise,4", "A_000,ldct,median,noise,4", r"column reader: expected .* got 'median'"),
        ("A_000,ldct,r1,noise,4\n", "", r"row 18 \(A_000_ldct\): column criterion: no row of r1 for noise"),
        ("A_001,ldct,r2,lesion_conspicuity,N/A\n", "", r"no row of r2 for lesion_conspicuity; write N/A"),
        ("A_000,ldct,r1,lesion_conspicuity,4", "A_000,ldct,r1,lesion_conspicuity,N/A", r"'N/A', but a lesion was sim"),
        ("A_000,ldct,r1,noise,4\n", "A_000,ldct,r1,noise,4\nA_000,ldct,r1,noise,3\n",
         r"row 19 \(A_000_ldct\): column criterion: r1 has scored noise of this image in row 18"),
        (",score", ",grade", r"column score is missing; found slice_id, variant, reader, criterion, grade"),
        (",score", ",criterion", r"column criterion is there twice"),
    ],
)  # fmt: skip
def test_errors_in_a_long_table_name_row_and_column(read, old, new, message):
    text = LONG_HEAD + "\n".join(long_rows()) + "\n"
    assert text.count(old) == 1
    with pytest.raises(InputError, match=message):
        read(text.replace(old, new))


def test_empty_lines_do_not_shift_the_rows_named(read):
    with pytest.raises(InputError, match=r"row 6 \(A_001_ldct\): column noise"):
        read(HEAD + "\n".join(row.strip() for row in ROWS[:3]) + "\n\n" + ROWS[3].replace(",3,4", ",7,4"))


def test_readers_may_share_the_images(read):
    rows = [*long_rows(("r1",))[:8], *long_rows(("r2",))[8:]]
    assert read(LONG_HEAD + "\n".join(rows))["reader"].tolist() == ["r1", "r1", "r2", "r2"]
