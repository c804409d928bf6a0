from retrieval_bench.reporting.best import best_note, with_best
from retrieval_bench.reporting.cells import NOTHING, Cell


def bold(columns, kinds):
    rows = [tuple(Cell(text) for text in row) for row in zip(*columns, strict=True)]
    return [[cell.best for cell in row] for row in with_best(rows, range(len(columns)), kinds)]


def test_the_largest_figure_and_its_equals_are_best():
    assert bold([["9.00", "10.00", "10.00", NOTHING]], ["a"] * 4) == [[False], [True], [True], [False]]


def test_each_kind_has_its_own_best_and_none_takes_no_part():
    assert bold([["1.00", "2.00", "3.00", "4.00", "9.00"]], ["a", "a", "b", "b", None]) == [
        [False], [True], [False], [True], [False],
    ]  # fmt: skip


def test_a_row_that_is_alone_is_not_the_best():
    assert bold([["1.00", "2.00"]], ["a", "b"]) == [[False], [False]]


def test_the_note_stands_where_something_is_bold_and_says_who_takes_no_part():
    rows = [(Cell("1.00", best=True),), (Cell("0.00"),)]
    assert best_note(rows, ["a", "a"]) == ["Bold: the largest figure of its column."]
    assert "no ground truth chose" in best_note(rows, ["a", None])[0]
    assert best_note([(Cell("1.00"),)], ["a"]) == []
