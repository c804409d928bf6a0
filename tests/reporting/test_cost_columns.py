from retrieval_bench.reporting.cost_columns import costs_side_by_side
from retrieval_bench.settings.record import Cost


def test_runs_stand_in_rows_and_costs_that_any_has_in_columns(make_record):
    reranked = make_record(costs=[Cost(name="re-ranking", value=7.5, unit="s"), Cost(name="search", value=1, unit="s")])
    local = make_record(costs=[Cost(name="local features", value=362, unit="KiB/image")])
    table = costs_side_by_side([reranked, local], ["A", "B"])
    assert [f"{column.group} {column.name}".strip() for column in table.columns] == ["Run", "Rerank s", "Local KiB"]
    assert [[cell.text for cell in row] for row in table.rows] == [["A", "7.50", "—"], ["B", "—", "362"]]
    assert costs_side_by_side([make_record(costs=[])], ["A"]) is None
