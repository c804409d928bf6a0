import re
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest

from retrieval_bench.reporting.comparison_page import cards_side_by_side, write_comparison

NAME = "GeM <b> & _x_ | 50 %"


@pytest.fixture
def compared(tmp_path, make_record, make_card, make_stage):
    """Writes the comparison of three runs, of which one has no re-ranking; returns the page's text and its folder."""
    runs = {
        tmp_path / "runs é" / "one": make_record(run_id="one", card=make_card(warnings=["tuned on the test"])),
        tmp_path / "runs é" / "two": make_record(run_id="two", title=NAME, stages=[make_stage()]),
        tmp_path / "runs é" / "three": make_record(run_id="three", title="ULTRON", card=make_card(train_set="GLDv2")),
    }
    page = write_comparison(
        tmp_path / "runs é" / "comparisons" / "x", runs, [[None, 0.01], [0.5], [0.2, None]], ["cfcd: out of <memory>"]
    )
    return page.read_text(encoding="utf-8"), page.parent


class Links(HTMLParser):
    """Collects what the page links to, and checks that its elements nest."""

    def __init__(self):
        super().__init__()
        self.open, self.links = [], []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "img", "br", "use", "path"):
            self.open.append(tag)
        self.links += [value for name, value in attrs if tag == "a" and name == "href"]

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        if tag not in ("path", "use"):
            assert self.open.pop() == tag


def test_the_page_nests_and_links_to_the_runs(compared):
    text, folder = compared
    page = Links()
    page.feed(text)
    assert page.open == []
    targets = [unquote(link) for link in page.links if not link.startswith("#")]
    assert [(folder / target).resolve().parent.name for target in targets] == ["one", "two", "three"]
    assert {link for link in page.links if link.startswith("#")} <= {
        f"#{name}" for name in re.findall('id="(.*?)"', text)
    }


def test_what_a_reader_must_know_is_on_the_page(compared):
    text, _ = compared
    for said in (
        "tuned on the test",
        "cfcd: out of &lt;memory&gt;",
        "GeM &lt;b&gt; &amp; _x_",
        "Protocol: synthetic",
        "GLDv2",
    ):
        assert said in text
    assert "<b>74.23</b>" in text
    assert NAME not in text


def test_the_tables_lie_beside_it(compared):
    _, folder = compared
    assert r"GeM \textless{}b\textgreater{} \& \_x\_ \textbar{} 50 \%" in (folder / "table.tex").read_text("utf-8")
    assert (folder / "table.csv").read_text("utf-8").count("\n") == 1 + 5 * 3 * 4
    assert r"GeM \<b> & \_x\_ \| 50 %" in (folder / "table.md").read_text("utf-8")


def test_cards_say_once_what_all_runs_share(make_record, make_card):
    records = [make_record(), make_record(card=make_card(train_set="GLDv2"))]
    rows = [[cell.text for cell in row] for row in cards_side_by_side(records, ["x", "y"]).rows]
    assert ["whitening", "all runs", "none"] in rows
    place = rows.index(["training set", "x", "synthetic train landmarks"])
    assert rows[place + 1] == ["", "y", "GLDv2"]


def test_no_runs_are_no_error(tmp_path):
    assert "Runs side by side" in write_comparison(tmp_path, {}).read_text("utf-8")
