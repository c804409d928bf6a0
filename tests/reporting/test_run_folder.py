import pytest

from retrieval_bench.reporting.run_folder import read_run_folder
from retrieval_bench.settings.errors import InputError


def test_everything_a_run_wrote_is_read(make_run, make_record):
    run = read_run_folder(make_run(queries=3))
    assert run.record == make_record()
    assert list(run.per_query.index) == ['<b>&".jpg', "query 1", "query 2"]
    assert [row.query for row in run.gallery.rows] == list(run.per_query.index)


def test_a_run_without_table_and_gallery_is_read(make_record, tmp_path):
    make_record().write(tmp_path)
    run = read_run_folder(tmp_path)
    assert run.per_query is None
    assert run.gallery is None


def test_no_record_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match=r"no record\.json"):
        read_run_folder(tmp_path)


@pytest.mark.parametrize("name", ["per_query.parquet", "gallery.json"])
def test_a_broken_file_names_itself(make_run, name):
    folder = make_run()
    (folder / name).write_bytes(b"broken")
    with pytest.raises(InputError, match=name) as raised:
        read_run_folder(folder)
    assert "\n" not in str(raised.value)


def test_a_table_without_queries_is_refused(make_run):
    folder = make_run()
    run = read_run_folder(folder)
    run.per_query.reset_index(drop=True).to_parquet(folder / "per_query.parquet")
    with pytest.raises(InputError, match="no column 'query'"):
        read_run_folder(folder)
