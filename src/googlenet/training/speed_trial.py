"""Measuring how fast this machine trains: a few steps at two sizes."""

from __future__ import annotations

import os
import time

import torch

from googlenet.models import zoo
from googlenet.models.build import create
from googlenet.parallel import cores
from googlenet.stages import stage
from googlenet.training import speed
from googlenet.training.precision import formats_of_cpu, seconds_of_a_step
from googlenet.training.speed import LARGE, NETWORK, SMALL, Speed

BATCHES = {SMALL: 32, LARGE: 8}  # images of a step, of which several fit into a second
MIN_CPU_SHARE = 0.7  # of the threads' time: with less, other programs had the rest, and the figure is not kept


def measure() -> Speed:
    """Train a few steps on noise, and return the least time of each size. Undisturbed, it is kept in the cache."""
    with stage("measuring how fast this machine trains"), torch.random.fork_rng(devices=[]):
        network = create(zoo.find(NETWORK), num_classes=10)
        begun, worked = time.perf_counter(), time.process_time()
        least = {
            size: min(seconds_of_a_step(network, network.network.preprocessing(size), count, formats_of_cpu())) / count
            for size, count in BATCHES.items()
        }
        share = (time.process_time() - worked) / (time.perf_counter() - begun) / _threads()
    found = Speed(least[SMALL], least[LARGE])
    if share >= MIN_CPU_SHARE:
        speed.remember(found)
    return found


def _threads() -> int:
    return min(torch.get_num_threads(), cores(), os.cpu_count() or 1)
