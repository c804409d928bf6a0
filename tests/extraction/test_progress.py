from retrieval_bench.extraction.progress import progress_bar


def test_bar_counts_on_from_what_was_done(capfd):
    with progress_bar(20, 5, "database", True) as advance:
        advance(4)
        advance(11)
    out, err = capfd.readouterr()
    assert out == ""
    assert "database" in err
    assert "20/20" in err
    assert "images/s" in err


def test_hidden_bar_prints_nothing(capfd):
    with progress_bar(20, 0, "database", False) as advance:
        advance(20)
    assert capfd.readouterr() == ("", "")
