"""Tables of images: what is wrong is named with its line."""

import csv

import pytest

from retrieval_bench.data.label_table import Columns, read_label_table
from retrieval_bench.settings.errors import InputError


def table(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "t.csv"
    path.write_text(text, encoding=encoding)
    return path


def read(tmp_path, text, columns=Columns(), groups=None):  # noqa: B008
    return read_label_table(table(tmp_path, text), tmp_path, columns, groups)


def test_names_survive_the_round_trip(tmp_path):
    names = [
        "name with spaces.jpg",
        "unicode_café_建物.jpg",
        "-dash.jpg",
        "comma,in.jpg",
        'quo"te.jpg',
        "line\nend.jpg",
    ]
    with (tmp_path / "t.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["image", "label"], *([name, "l"] for name in names)])
    rows = read_label_table(tmp_path / "t.csv", tmp_path, Columns())
    assert [row.name for row in rows] == names
    assert rows[0].path == tmp_path / names[0]
    assert (rows[0].label, rows[0].split, rows[0].box, rows[0].group) == ("l", "test", None, "")


def test_columns_have_any_name_and_order(tmp_path):
    columns = Columns("file", "landmark", "part", ("l", "t", "r", "b"), "kind")
    text = "kind,b,r,t,l,part,landmark,file\nhard,40,30.5,20,1,query,eiffel,a.jpg\n,,,,,,eiffel,b.jpg\n"
    first, second = read(tmp_path, text, columns)
    assert (first.box, first.split, first.group, first.label) == ((1, 20, 30.5, 40), "query", "hard", "eiffel")
    assert (second.box, second.split, second.group) == (None, "test", "")


def test_a_byte_order_mark_does_not_matter(tmp_path):
    path = table(tmp_path, "image,label\na.jpg,x\n", "utf-8-sig")
    assert read_label_table(path, tmp_path, Columns())[0].name == "a.jpg"


def test_groups_come_from_a_table_of_labels(tmp_path):
    (tmp_path / "g.csv").write_text("label,n,kind\nx,2,easy\n")
    columns = Columns(group="kind")
    rows = read(tmp_path, "image,label\na.jpg,x\nb.jpg,y\n", columns, tmp_path / "g.csv")
    assert [row.group for row in rows] == ["easy", ""]
    (tmp_path / "g.csv").write_text("label,sort\nx,easy\n")
    with pytest.raises(InputError, match=r"g\.csv: unknown column 'kind'"):
        read(tmp_path, "image,label\na.jpg,x\n", columns, tmp_path / "g.csv")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("image,labels\na.jpg,x\n", "unknown column 'label'; did you mean 'labels'"),
        ("image;label\na.jpg;x\n", "unknown column 'image'"),
        ("image,label\n", "no rows"),
        ("", "no rows"),
        ("image,label\na.jpg\n", "line 2: 1 cells for 2 columns"),
        ("image,label\na.jpg,x\nco,mma.jpg,x\n", "line 3: 3 cells for 2 columns"),
        ("image,label\n,x\n", "line 2: the image is empty"),
        ("image,label\na.jpg,\n", "line 2: the label is empty"),
        ("image,label,split\na.jpg,x,tran\n", "line 2: unknown split 'tran'; did you mean 'train'"),
        ("image,label,x0,y0,x1\na.jpg,x,1,2,3\n", "no 'y1'"),
        ("image,label,x0,y0,x1,y1\na.jpg,x,30,2,3,4\n", "line 2: the box (30.0, 2.0, 3.0, 4.0) is empty"),
        ("image,label,x0,y0,x1,y1\na.jpg,x,1,2,3,\n", "not four numbers"),
        ("image,label,x0,y0,x1,y1\na.jpg,x,1,2,nan,5\n", "line 2: the box"),
    ],
)
def test_mistakes_are_named_with_their_line(tmp_path, text, says):
    with pytest.raises(InputError) as caught:
        read(tmp_path, text)
    assert says in str(caught.value)
    assert str(tmp_path / "t.csv") in str(caught.value)


def test_missing_files_and_other_encodings(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_label_table(tmp_path / "none.csv", tmp_path, Columns())
    path = table(tmp_path, "image,label\ncafé.jpg,x\n", "latin-1")
    with pytest.raises(InputError, match="not a CSV in UTF-8"):
        read_label_table(path, tmp_path, Columns())
