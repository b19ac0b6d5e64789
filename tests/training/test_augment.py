"""How images are varied in training, and that small ones are decoded once."""

import numpy as np
import pytest
import torch
from torchvision import transforms

from googlenet.data.opening import open_data
from googlenet.models import zoo
from googlenet.training.augment import augment
from googlenet.training.loading import ImageDataset, SampleKey
from googlenet.training.recipe import Augmentation

PLAIN = {"hflip_prob": 0.0, "erasing_prob": 0.0}


def varied(pixels, seed, **how):
    return augment(pixels, 32, Augmentation(**PLAIN | how), np.random.default_rng(seed))


@pytest.fixture(scope="module")
def ramp():
    """Red tells the column and green the row, so that a crop tells where it was."""
    row, column = np.mgrid[:200, :240]
    return np.stack([column, row, np.zeros_like(row)], axis=2).astype(np.uint8)


def sides(seen):
    """Width and height of the crop, from its inner half: its rim is interpolated from one side only."""
    inner = seen.astype(float)
    return 2 * (inner[16, 24, 0] - inner[16, 8, 0]), 2 * (inner[24, 16, 1] - inner[8, 16, 1])


def test_crops_are_distributed_as_torchvisions(ramp):
    area, aspect = (0.2, 0.6), (0.5, 2.0)
    ours = np.array([sides(varied(ramp, seed, crop_scale=area, crop_ratio=aspect)) for seed in range(600)])
    torch.manual_seed(0)
    image = torch.zeros(3, 200, 240)
    theirs = np.array([transforms.RandomResizedCrop.get_params(image, area, aspect)[:1:-1] for _ in range(600)])
    for boxes in (ours, theirs):
        shares = boxes.prod(1) / (200 * 240)
        assert 0.18 < shares.min() < 0.25
        assert 0.55 < shares.max() < 0.63
    np.testing.assert_allclose(ours.mean(0), theirs.mean(0), rtol=0.05)
    np.testing.assert_allclose(ours.std(0), theirs.std(0), rtol=0.15)


def test_the_place_of_a_crop_is_anywhere(ramp):
    centres = np.array([varied(ramp, seed, crop_scale=(0.1, 0.1))[16, 16, :2] for seed in range(300)])
    assert (centres.min(0) < (50, 45)).all()
    assert (centres.max(0) > (190, 155)).all()


def test_where_no_crop_of_these_proportions_fits_it_is_the_largest_in_the_middle():
    pixels = np.zeros((12, 300, 3), np.uint8)
    pixels[:, 145:155] = 255  # of the 16 × 12 in the middle
    seen = varied(pixels, 0, crop_scale=(0.9, 1.0))
    assert (seen[:, 8:24] == 255).all()
    assert (seen[:, 0] == 0).all()


def test_half_of_the_images_are_mirrored(ramp):
    mirrored = [sides(varied(ramp, seed, hflip_prob=0.5))[0] < 0 for seed in range(300)]
    assert 0.4 < np.mean(mirrored) < 0.6


def test_a_rectangle_is_erased_to_grey():
    white = np.full((40, 40, 3), 255, np.uint8)
    shares = np.array([(varied(white, seed, erasing_prob=0.5) == 127).all(2).mean() for seed in range(300)])
    assert 0.4 < (shares > 0).mean() < 0.6
    assert shares[shares > 0].min() > 0.03
    assert shares.max() < 0.27


def test_colours_are_distorted_by_the_generator_given_alone(ramp):
    before = torch.get_rng_state()
    one, again, other = (varied(ramp, seed, photometric_prob=1.0, crop_scale=(1.0, 1.0)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()
    assert torch.equal(before, torch.get_rng_state())


@pytest.fixture
def training(coloured):
    images = open_data(coloured).train
    return ImageDataset(images, zoo.find("googlenet_bn").preprocessing(32), 0, Augmentation())


def remove_files(dataset):
    for item in dataset.images.items:
        item.path.unlink()


def test_small_images_are_decoded_once_and_varied_anew(training):
    count = len(training.images)
    first = [training[SampleKey(0, index, 32)][2] for index in range(count)]
    remove_files(training)
    assert all(torch.equal(first[index], training[SampleKey(0, index, 32)][2]) for index in range(count))
    assert any(not torch.equal(first[index], training[SampleKey(1, index, 32)][2]) for index in range(count))


def test_no_more_are_kept_than_there_is_room_for(training):
    training.room = sum(training.images.items[index].read().nbytes for index in range(2))
    for index in range(3):
        training[SampleKey(0, index, 32)]
    remove_files(training)
    readable = [index for index in range(3) if isinstance(training[SampleKey(1, index, 32)][2], torch.Tensor)]
    assert readable == [0, 1]
