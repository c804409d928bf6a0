import pytest

from retrieval_bench.reporting.gallery_view import gallery_sections
from retrieval_bench.reporting.pictures import Pictures
from retrieval_bench.reporting.run_folder import read_run_folder
from retrieval_bench.settings.record import Gallery


@pytest.fixture
def sections_of():
    def make(folder, max_queries=30):
        run = read_run_folder(folder)
        return gallery_sections(run, Pictures(folder, run.record.card.protocol), max_queries)

    return make


def edit_gallery(folder, change) -> None:
    path = folder / "gallery.json"
    gallery = Gallery.model_validate_json(path.read_text(encoding="utf-8"))
    change(gallery)
    path.write_text(gallery.model_dump_json(), encoding="utf-8")


def test_queries_come_worst_first_by_medium_ap_of_the_last_stage(make_run, sections_of):
    folder = make_run(queries=6)
    per_query = read_run_folder(folder).per_query
    (section,) = sections_of(folder)
    expected = list(per_query["reranked/ap_medium"].sort_values().index)
    assert [view.name for view in section.queries] == expected
    assert section.queries[0].medium == f"{100 * per_query['reranked/ap_medium'].min():.2f}"


def test_positions_are_counted_from_one_with_the_change(make_run, sections_of):
    (section,) = sections_of(make_run(queries=1))
    view = section.queries[0]
    assert [frame.position for frame in view.best[:2]] == ["12 → 1", "11 → 2"]
    assert view.missed[0].position == "81 → 57"
    assert view.missed[0].alt == "d11.jpg: hard, position 57, 81 before re-ranking"
    assert [frame.relation for frame in view.best[:4]] == ["easy", "negative", "junk", "hard"]


def test_a_candidate_that_was_not_reranked_has_one_position(make_run, sections_of):
    folder = make_run(queries=1)
    edit_gallery(folder, lambda gallery: setattr(gallery.rows[0].best[0], "before", None))
    assert sections_of(folder)[0].queries[0].best[0].position == "1"


def test_only_verified_candidates_are_drawn_as_pairs(make_run, sections_of):
    view = sections_of(make_run(queries=1))[0].queries[0]
    assert len(view.pairs) == 1
    assert view.pairs[0].picture.startswith("data:image/jpeg;base64,")
    assert "9 verified matches" in view.pairs[0].caption


def test_many_matches_say_how_many_are_drawn(make_run, sections_of):
    folder = make_run(queries=1)

    def change(gallery):
        best = gallery.rows[0].best[0]
        best.query_points, best.database_points = [(5.0, 5.0)] * 70, [(9.0, 9.0)] * 70

    edit_gallery(folder, change)
    caption = sections_of(folder)[0].queries[0].pairs[0].caption
    assert "70 verified matches, 40 of them drawn" in caption


def test_pairs_are_missing_with_a_reason_where_a_picture_is_gone(make_run, sections_of):
    folder = make_run(queries=1)
    edit_gallery(folder, lambda gallery: setattr(gallery.rows[0].best[0], "path", "nowhere.jpg"))
    view = sections_of(folder)[0].queries[0]
    assert view.pairs[0].picture is None
    assert view.pairs[0].gone == "image file gone"
    assert view.best[0].gone == "image file gone"
    assert view.best[1].gone == ""


def test_figures_of_a_query_are_those_of_its_row(make_run, sections_of):
    folder = make_run(queries=1)
    row = read_run_folder(folder).per_query.iloc[0]
    view = sections_of(folder)[0].queries[0]
    assert [cell.text for cell in view.figures.rows[1][1:]] == [
        f"{100 * row[f'reranked/ap_{level}']:.2f}" for level in ("easy", "medium", "hard")
    ]
    assert view.figures.notes == (f"Database images: {row['n_easy']} easy, {row['n_hard']} hard, {row['n_junk']} junk",)
    assert view.group == "towers"


def test_a_query_without_a_row_has_no_figures(make_run, sections_of):
    folder = make_run(queries=1)
    (folder / "per_query.parquet").unlink()
    view = sections_of(folder)[0].queries[0]
    assert view.figures is None
    assert view.medium == "—"


def test_points_without_partners_are_an_input_error(make_run, sections_of):
    folder = make_run(queries=1)
    edit_gallery(folder, lambda gallery: setattr(gallery.rows[0].best[0], "database_points", []))
    with pytest.raises(ValueError, match="9 query points but 0 database points"):
        sections_of(folder)
