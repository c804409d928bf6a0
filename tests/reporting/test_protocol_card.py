from retrieval_bench.reporting.protocol_card import compact_card, full_card, provenance_table
from retrieval_bench.settings.card import COMPARABLE
from retrieval_bench.settings.protocol import Protocol


def rows(table) -> dict[str, str]:
    return {row[0].text: row[1].text for row in table.rows}


def test_the_full_card_holds_every_field_and_whole_digests(make_record, make_card):
    card = make_card(whitening="learnt on SfM-120k", truncated_at=100, ground_truth_in_candidates=True)
    said = rows(full_card(make_record(card=card)))
    for field in set(type(card).model_fields) - {"protocol", "dataset_facts", "warnings", *COMPARABLE}:
        value = getattr(card, field)
        assert (str(value) if not isinstance(value, bool) else "yes") in said.values(), field
    assert card.ground_truth_digest in said.values()
    assert said["ranked rows"] == "the first 100"
    assert said["scales"] == "0.7071, 1, 1.414"
    assert said["licence"] == "generated"
    assert len(full_card(make_record()).rows) == 19 + 1 + len(Protocol.model_fields)


def test_no_size_limit_reads_as_it_is(make_record, make_card):
    record = make_record(card=make_card(protocol=Protocol(image_size=None)))
    assert rows(full_card(record))["longest side (px)"] == "as it is"
    assert rows(compact_card(record))["size"].startswith("whole size")


def test_the_compact_card_says_what_moves_map(make_record):
    said = rows(compact_card(make_record()))
    assert said["re-ranking"] == "geometric: affine, 1000 hypotheses, 100 candidates"
    assert said["ground truth"] == "0123456789ab…; 12 queries, 400 database"
    assert said["search"] == "exact inner product (torch); all rows ranked"


def test_the_compact_card_says_how_pixels_are_normalised_and_who_says_so(make_record, make_card):
    protocol = Protocol(channel_order="bgr", mean=(0.5, 0.25, 0.125))
    said = rows(compact_card(make_record(card=make_card(protocol=protocol, normalisation="method dolg"))))
    assert said["pixel values"] == "BGR, mean 0.5, 0.25, 0.125, deviation 0.229, 0.224, 0.225 (method dolg)"


def test_provenance_names_parts_and_run(make_record):
    said = rows(provenance_table(make_record()))
    assert said["pooling"] == "gem"
    assert said["commit"] == "abc1234"
    assert said["run"] == "20250101-120000"
