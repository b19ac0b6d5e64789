import csv

import pytest

from googlenet.models.analysis import analyse
from googlenet.models.networks.googlenet import AUX_HEAD, GOOGLENET, GOOGLENET_NAIVE, INCEPTION5H
from googlenet.models.spec import AuxTap
from googlenet.models.table1 import PRINTED, errata, naive_against_reduced


def test_every_exact_figure_of_table_1(table1_csv):
    with table1_csv.open() as file:
        expected = {row["row"]: row for row in csv.DictReader(file)}
    assert expected.pop("softmax")["exact_params"] == "0"  # no layer: the network gives logits
    rows = analyse(GOOGLENET).rows
    assert [row.name for row in rows] == list(expected)
    for row in rows:
        want, cost = expected[row.name], row.cost
        channels, height, width = cost.shape
        assert row.kind == want["kind"]
        assert f"{height}x{width}x{channels}" == want["output"]
        assert [cost.depth, cost.weights, cost.parameters, cost.macs] == [
            int(want[key]) for key in ("depth", "exact_weights", "exact_params", "exact_macs")
        ]
        assert PRINTED.get(row.name, ("", "")) == (want["paper_params"], want["paper_ops"])


def test_sums_of_table_1():
    table = analyse(GOOGLENET)
    assert (table.weights, table.parameters, table.macs) == (6_990_272, 6_998_552, 1_582_671_872)
    assert [row.cost.parameters for row in table.aux] == [3_188_840, 3_190_888]
    assert table.training_parameters == 13_378_280
    assert (table.depth, table.depth_with_pooling) == (22, 27)


def test_naive_modules_cost_what_the_lecture_says_and_reductions_what_the_paper_does():
    naive, projected, reduced = naive_against_reduced()
    assert (naive.macs, naive.channels) == (854_196_224, 672)
    assert (projected.macs, projected.channels) == (867_041_280, 480)
    assert (reduced.macs, reduced.channels) == (304_267_264, 480)
    for module in (naive, projected, reduced):
        assert sum(term.macs for term in module.terms) == module.macs


def test_naive_network_shows_why_reductions_exist():
    assert analyse(GOOGLENET_NAIVE).parameters > 10 * analyse(GOOGLENET).parameters


def test_errata_fit_the_printed_figures():
    text = " ".join(errata())
    released = {row.name: row.cost.macs for row in analyse(INCEPTION5H).rows}
    assert round(released["inception_4a"], -6) == 73_000_000
    assert round(released["inception_5a"], -6) == 54_000_000
    for figure in ("2,712", "34,019,328", "1/8.7", "1/19.8", "1,500,878,720"):
        assert figure in text


@pytest.mark.parametrize(("size", "parameters"), [(224, 3_188_840), (64, 3_188_840), (320, 3_188_840)])
def test_heads_keep_their_parameters_at_every_size(size, parameters):
    assert analyse(GOOGLENET, size).aux[0].cost.parameters == parameters


def test_a_head_on_another_stage_follows_its_channels():
    from dataclasses import replace

    moved = replace(GOOGLENET, aux=[AuxTap("aux1", "inception_3b", AUX_HEAD)])
    assert analyse(moved).aux[0].cost.parameters == 3_188_840 + (480 - 512) * 128
