import pytest

from retrieval_bench.reporting.query_choice import choose_queries


def test_all_are_shown_worst_first_and_those_without_ap_last():
    sections = choose_queries({"a": 0.9, "b": None, "c": 0.1, "d": float("nan")}, 4)
    assert [(section.title, section.queries) for section in sections] == [("", ("c", "a", "b", "d"))]


def test_of_many_the_worst_the_median_and_the_best_are_shown():
    sections = choose_queries({f"{i:03}": i / 99 for i in range(100)}, 30)
    worst, median, best = (section.queries for section in sections)
    assert worst == tuple(f"{i:03}" for i in range(10))
    assert median == tuple(f"{i:03}" for i in range(45, 55))
    assert best == tuple(f"{i:03}" for i in range(90, 100))
    assert sections[0].title == "Worst: 10 queries"


@pytest.mark.parametrize("most", range(1, 12))
@pytest.mark.parametrize("count", [1, 2, 5, 11, 12, 13, 40])
def test_never_more_than_asked_and_none_twice(count, most):
    chosen = [query for section in choose_queries({str(i): i for i in range(count)}, most) for query in section.queries]
    assert len(chosen) == len(set(chosen)) == min(count, most)


def test_queries_without_ap_only_fill_what_is_left():
    sections = choose_queries({"a": 0.5, "b": None, "c": None, "d": 0.2}, 3)
    assert sections[0].queries == ("d", "a", "b")


def test_none_at_all_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        choose_queries({"a": 0.5}, 0)
