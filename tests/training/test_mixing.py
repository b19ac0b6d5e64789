"""MixUp and CutMix: pixels and labels are mixed in one proportion, as f(seed, epoch, batch)."""

import numpy as np
import pytest
import torch

from googlenet.training.augmentation import Augmentation
from googlenet.training.loading import Batch
from googlenet.training.losses import binary_cross_entropy, cross_entropy
from googlenet.training.mixing import mix as mix_batch
from googlenet.training.progress import Progress
from googlenet.training.recipe import Recipe
from googlenet.training.task import OneLabel, SeveralLabels

SIDE, N = 32, 6
MIXUP, CUTMIX = Augmentation(mixup_prob=1.0, mixup_alpha=1.0), Augmentation(cutmix_prob=1.0)


def mix(batch, how, classes, place, share):
    seed, epoch, number = place
    return mix_batch(batch, Recipe(seed=seed, augmentation=how), classes, Progress(epoch, number), share)


def batch_of(labels, task):
    """Image n is of one level, 40 n: what is mixed into it is known by its pixels."""
    images = torch.arange(N, dtype=torch.uint8).mul(40).view(N, 1, 1, 1).expand(N, 3, SIDE, SIDE).contiguous()
    return Batch(images, task.targets(labels), list(range(N)))


@pytest.fixture
def batch():
    return batch_of([(n % 3,) for n in range(N)], OneLabel(4))


def share_of_own(mixed, n):
    """Which share of the pixels of image n are its own: of levels where they are blended, of area where not."""
    own, other = 40 * n, 40 * ((n - 1) % N)
    return float(((mixed.images[n].float() - other) / (own - other)).mean())


@pytest.mark.parametrize("how", [MIXUP, CUTMIX], ids=["mixup", "cutmix"])
def test_labels_are_mixed_as_the_pixels_are(batch, how):
    shares = []
    for number in range(40):
        mixed = mix(batch, how, 4, (0, 0, number), 0.5)
        assert (mixed.images.dtype, mixed.images.shape) == (torch.uint8, batch.images.shape)
        for n in range(N):
            own = share_of_own(mixed, n)
            expected = own * torch.eye(4)[n % 3] + (1 - own) * torch.eye(4)[(n - 1) % N % 3]
            torch.testing.assert_close(mixed.labels[n], expected, atol=0.02, rtol=0)
        shares.append(share_of_own(mixed, 1))
        blended = {40 * n for n in range(N)} >= set(mixed.images.unique().tolist())
        assert blended == (how is CUTMIX) or shares[-1] > 0.98 or shares[-1] < 0.02
    assert min(shares) < (0.2 if how is MIXUP else 0.5)
    assert max(shares) > 0.8
    assert np.mean(shares) == pytest.approx(0.5 if how is MIXUP else 0.6, abs=0.15)  # a rectangle is cut off at the rim


def test_several_labels_are_mixed_in_shares():
    task = SeveralLabels(3)
    batch = batch_of([(0, 1), (), (2,), (0,), (0, 1, 2), (1,)], task)
    mixed = mix(batch, MIXUP, 3, (0, 0, 1), 0.5)
    share = share_of_own(mixed, 1)
    torch.testing.assert_close(
        mixed.labels, share * batch.labels + (1 - share) * batch.labels.roll(1, 0), atol=0.01, rtol=0
    )


def test_seed_epoch_and_batch_decide_alone(batch):
    before = torch.get_rng_state()
    first = mix(batch, MIXUP, 4, (1, 2, 3), 0.5)
    assert torch.equal(first.labels, mix(batch, MIXUP, 4, (1, 2, 3), 0.9).labels)
    others = [mix(batch, MIXUP, 4, place, 0.5) for place in ((0, 2, 3), (1, 0, 3), (1, 2, 0))]
    assert not any(torch.equal(first.labels, other.labels) for other in others)
    assert torch.equal(before, torch.get_rng_state())
    assert (batch.images == batch_of([(0,)] * N, OneLabel(4)).images).all()


def test_how_often_and_in_which_part_of_a_run(batch):
    how = Augmentation(mixup_prob=0.3, mixup_alpha=50.0, cutmix_prob=0.4, mix_during=(0.25, 0.75))
    every = [mix(batch, how, 4, (0, 0, number), 0.5) for number in range(200)]
    unmixed = sum(each is batch for each in every)
    cut = sum({40 * n for n in range(N)} >= set(each.images.unique().tolist()) for each in every) - unmixed
    assert 0.2 < unmixed / 200 < 0.4
    assert 0.3 < cut / 200 < 0.5
    for share in (0.0, 0.2, 0.8, 1.0):
        assert mix(batch, how, 4, (0, 0, 0), share) is batch
    assert mix(batch, Augmentation(), 4, (0, 0, 0), 0.5) is batch


@pytest.mark.parametrize("weights", [None, torch.tensor([0.5, 1.0, 3.0])])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_of_a_mixture_is_the_mixture_of_the_losses(smoothing, weights):
    logits, labels = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 1, 0])
    shares = 0.7 * torch.eye(3)[labels] + 0.3 * torch.eye(3)[labels.roll(1)]
    first, second = (cross_entropy(logits, each, smoothing, weights) for each in (labels, labels.roll(1)))
    torch.testing.assert_close(cross_entropy(logits, shares, smoothing, weights), 0.7 * first + 0.3 * second)
    several = (torch.eye(3)[labels], torch.eye(3)[labels.roll(1)])
    first, second = (binary_cross_entropy(logits, each, smoothing, weights) for each in several)
    torch.testing.assert_close(binary_cross_entropy(logits, shares, smoothing, weights), 0.7 * first + 0.3 * second)


def test_a_mixed_image_counts_as_of_the_class_that_has_more_of_it():
    logits = torch.tensor([[2.0, 1.0, 0.0], [2.0, 1.0, 0.0]])
    assert OneLabel(3).correct(logits, torch.tensor([[0.6, 0.4, 0.0], [0.3, 0.7, 0.0]])) == 1
    assert SeveralLabels(3).correct(logits - 1.5, torch.tensor([[0.6, 0.4, 0.0], [0.6, 0.7, 0.0]])) == 1
