"""`compare`: every network has its row, measured alike, and one that fails does not stop the others."""

import json
from dataclasses import replace

import pytest

import googlenet
from googlenet.benchmarking import compare as room
from googlenet.errors import DataError, NetworkError, NonFiniteLossError, RecipeError
from googlenet.inference.engine import precisions
from googlenet.models.analysis import analyse
from googlenet.models.networks.googlenet import inception
from googlenet.models.spec import Conv, Stage


@pytest.fixture
def wider(tiny):
    return replace(tiny.change("inception_2", inception(16, 8, 16, 4, 8, 8)), name="wider")


@pytest.fixture
def demanding(tiny):
    """Takes nothing below 33 pixels."""
    return replace(tiny.insert_after("conv1", Stage("large", [Conv(8, 17, padding=0)])), name="demanding")


def test_each_network_has_its_figures_the_cheapest_first(tiny, wider):
    done = []
    result = googlenet.compare([wider, tiny], image_size=32, batch_size=3, progress=lambda *at: done.append(at))
    assert [row.network for row in result.rows] == ["tiny", "wider"]
    for row, network in zip(result.rows, (tiny, wider), strict=True):
        analysis = analyse(network, 32)
        assert (row.parameters, row.macs) == (analysis.parameters, analysis.macs)
        assert row.activations == analysis.activations
        assert 4 * row.parameters < row.file_bytes < 8 * row.parameters + 100_000
        assert tuple(speed.precision for speed in row.speeds) == precisions()
        assert all(speed.latency_ms > 0 and speed.images_per_second > 0 for speed in row.speeds)
        assert row.top1 is row.failure is None
    turns = room.ROUNDS * 2 * len(precisions())
    assert done == [(at, turns) for at in range(turns)]
    assert (result.data, result.recipe, result.batch_size) == (None, None, 3)


def test_trained_alike_and_a_network_that_fails_has_a_row_that_says_why(tiny, wider, demanding, coloured):
    said = []
    result = googlenet.compare(
        [demanding, tiny, wider], image_size=24, data=coloured, minutes=0.02, batch_size=2, say=said.append
    )
    assert [row.network for row in result.rows] == ["tiny", "wider", "demanding"]
    assert "demanding got 24×24 pixels; it takes" in result.rows[2].failure
    assert result.rows[2].macs is result.rows[2].top1 is None
    assert result.rows[2].speeds == ()
    for row in result.rows[:2]:
        assert 0 <= row.top1 <= 1
        assert row.speeds
    assert result.rows[0].parameters == analyse(replace(tiny, num_classes=3), 24).parameters
    assert said == ["2 of 3: tiny", "3 of 3: wider"]
    assert result.data == str(coloured)
    assert (result.recipe["minutes"], result.recipe["image_size"]) == (0.02, 24)


def test_a_loss_that_is_not_finite_does_not_stop_the_others(tiny, wider, coloured, monkeypatch):
    train = room.train

    def failing(*arguments, network, **options):
        if network.name == "tiny":
            raise NonFiniteLossError("the loss became NaN", ("a.png",))
        return train(*arguments, network=network, **options)

    monkeypatch.setattr(room, "train", failing)
    result = googlenet.compare([tiny, wider], image_size=24, data=coloured, minutes=0.02)
    assert result.rows[0].failure == "the loss became NaN"
    assert result.rows[0].speeds == ()
    assert result.rows[1].top1 is not None


def test_what_programs_read(tiny):
    document = json.loads(json.dumps(googlenet.compare([tiny]).to_json()))
    assert set(document) == {"rows", "batch_size", "machine", "data", "recipe", "claims"}
    assert document["rows"][0]["size"] == 32
    assert set(document["rows"][0]["speeds"][0]) == {"precision", "latency_ms", "images_per_second"}
    assert document["machine"]["processor"]
    assert document["machine"]["cores"] >= 1
    assert {"googlenet", "openvino", "torch", "python"} <= set(document["machine"]["versions"])


def test_what_is_said_of_the_networks_stands_beside_what_is_true():
    result = googlenet.compare(["googlenet", "alexnet"], image_size=16)  # too small for both: nothing is run
    assert all(row.failure for row in result.rows)
    assert "1/8.7" in result.claims[0]


def test_wrong_use(tiny, coloured, tmp_path):
    with pytest.raises(NetworkError, match="did you mean 'googlenet'"):
        googlenet.compare(["googlnet"])
    with pytest.raises(RecipeError, match="give it with --image-size"):
        googlenet.compare([tiny], data=coloured)
    with pytest.raises(RecipeError, match="give the images to train on"):
        googlenet.compare([tiny], minutes=1)
    with pytest.raises(RecipeError, match="minutes = -1"):
        googlenet.compare([tiny], image_size=32, data=coloured, minutes=-1)
    with pytest.raises(DataError, match="does not exist"):
        googlenet.compare([tiny], image_size=32, data=tmp_path / "nowhere")
