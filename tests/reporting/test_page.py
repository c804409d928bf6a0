import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from retrieval_bench.reporting.cells import percent
from retrieval_bench.reporting.page import write_report
from retrieval_bench.settings.record import Gallery

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Collects tags, checks that they close in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def of_class(self, *names: str) -> list[tuple[str, dict[str, str | None]]]:
        return [(tag, at) for tag, at in self.tags if set(names) <= set((at.get("class") or "").split())]


@pytest.fixture
def page(make_run):
    return Page(write_report(make_run()).read_text(encoding="utf-8"))


def test_the_page_is_well_formed(page):
    assert page.open == []
    ids = [at["id"] for _, at in page.tags if "id" in at]
    assert len(ids) == len(set(ids))
    links = {at["href"] for tag, at in page.tags if tag == "a"}
    assert all(link.startswith("#") and link[1:] in ids for link in links)


def test_nothing_is_fetched_from_outside(make_run):
    html = write_report(make_run()).read_text(encoding="utf-8")
    page = Page(html)
    assert not {"script", "link", "iframe", "object", "base"} & {tag for tag, _ in page.tags}
    for tag, attributes in page.tags:
        for name in ("src", "href", "srcset", "data", "action", "poster", "background"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:image/jpeg;base64,")), (tag, name, value)
    assert "http:" not in html
    assert "https:" not in html
    assert re.findall(r"url\((?!#)", html) == []
    assert "@import" not in html


def test_every_picture_is_embedded_and_described(page):
    pictures = [at for tag, at in page.tags if tag == "img"]
    # Per query: itself, ten candidates, one missed, one drawn pair.
    assert len(pictures) == 4 * 13
    assert all(at["src"].startswith("data:image/jpeg;base64,") and at["alt"] for at in pictures)


def test_the_figures_of_the_record_are_on_the_page(page, make_record):
    record = make_record()
    for stage in record.stages:
        for level in stage.levels.values():
            assert percent(level.map) in page.text
            assert f"[{percent(level.interval[0])}, {percent(level.interval[1])}]" in page.text
    for said in ("153.2", "76.54", "Paper, T. 1", record.card.weights_digest, "retrieval-bench bench delg"):
        assert said in page.text
    assert r"\begin{tabular}" in page.text
    assert "| Ranking |" in page.text


def test_frames_follow_the_relation(page):
    counts = {name: len(page.of_class("frame", name)) for name in ("easy", "hard", "junk", "negative")}
    # Ten candidates and one missed positive (hard) for each of four queries, and one frame each in the legend.
    assert counts == {"easy": 4 * 2 + 1, "hard": 4 * 2 + 1, "junk": 4 * 2 + 1, "negative": 4 * 5 + 1}
    for label in ("✓ easy", "✓ hard", "junk", "✗ negative"):
        assert label in page.words
    assert "12 → 1" in page.words


def test_frames_differ_without_colour():
    import retrieval_bench.reporting

    css = (Path(retrieval_bench.reporting.__file__).parent / "templates" / "report.css").read_text(encoding="utf-8")
    styles = re.findall(r"\.frame\.(easy|hard|junk|negative) \{ border: \d+px (\w+)", css)
    assert len(styles) == 4
    assert len({style for _, style in styles}) == 4


def test_names_are_escaped(make_run, make_record):
    record = make_record(title="<script>alert(1)</script>", provenance={"command": '<img src="x">'})
    html = write_report(make_run(record=record)).read_text(encoding="utf-8")
    page = Page(html)
    assert "<script" not in html
    assert '<b>&".jpg' in page.words
    assert not any(tag == "b" for tag, _ in page.tags)
    assert not any(at.get("src") == "x" for _, at in page.tags)
    assert any(at.get("alt") == 'Query <b>&".jpg, its box drawn' for _, at in page.tags)


def test_a_missing_picture_leaves_a_placeholder(make_run):
    folder = make_run(queries=1)
    path = folder / "gallery.json"
    gallery = Gallery.model_validate_json(path.read_text(encoding="utf-8"))
    Path(gallery.rows[0].best[1].path).unlink()
    page = Page(write_report(folder).read_text(encoding="utf-8"))
    (gone,) = page.of_class("gone")
    assert gone[1]["aria-label"] == "d1.jpg: negative, position 2, 11 before re-ranking: image file gone"
    assert len(page.of_class("frame", "negative")) == 5 + 1


def test_the_cap_on_queries_is_said(make_run):
    folder = make_run(queries=9)
    text = Page(write_report(folder, max_queries=6).read_text(encoding="utf-8")).text
    assert "6 of 9 queries are shown" in text
    assert "Worst: 2 queries" in text
    assert "All 9 queries are shown" in Page(write_report(folder).read_text(encoding="utf-8")).text


def test_warnings_are_on_the_page(make_run, make_record, make_card):
    record = make_record(card=make_card(ground_truth_in_candidates=True, warnings=["<i>leak</i>"]))
    page = Page(write_report(make_run(record=record)).read_text(encoding="utf-8"))
    assert len(page.of_class("warnings")) == 1
    assert "<i>leak</i>" in page.words
    assert "upper bound" in page.text


def test_a_bare_record_makes_a_page(make_record, make_stage, tmp_path):
    record = make_record(stages=[make_stage()], costs=[], published=[], validation=[])
    record.write(tmp_path)
    page = Page(write_report(tmp_path).read_text(encoding="utf-8"))
    assert page.open == []
    assert "This run wrote no gallery." in page.text
    assert not page.of_class("plots")
    assert not page.of_class("warnings")
    assert "Published" not in page.text


def test_the_same_run_makes_the_same_page(make_run):
    folder = make_run(queries=1)
    first = write_report(folder).read_bytes()
    assert write_report(folder).read_bytes() == first


@pytest.mark.parametrize("step", ["write_text", "replace"])
def test_an_interrupted_write_leaves_no_report(make_run, monkeypatch, step):
    folder = make_run(queries=1)
    before = sorted(folder.iterdir())
    original = getattr(Path, step)

    def interrupted(self, *arguments, **keywords):
        if self.name.startswith("report"):
            if step == "write_text":
                original(self, "half a pa", encoding="utf-8")
            raise KeyboardInterrupt
        return original(self, *arguments, **keywords)

    monkeypatch.setattr(Path, step, interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_report(folder)
    assert sorted(folder.iterdir()) == before


def test_an_older_report_survives_an_interrupted_write(make_run, monkeypatch):
    folder = make_run(queries=1)
    report = write_report(folder)
    before = report.read_bytes()

    def interrupted(self, target):
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(OSError, match="disk full"):
        write_report(folder)
    assert report.read_bytes() == before


def test_reporting_needs_no_torch():
    code = "import sys, retrieval_bench.reporting.page; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_is_pasted_carries_its_protocol(make_run):
    text = write_report(make_run()).read_text(encoding="utf-8")
    assert text.count("% Protocol: synthetic (synthetic, seed 0; ground truth 0123456789ab)") == 2
    assert text.count("\nProtocol: synthetic") == 2
