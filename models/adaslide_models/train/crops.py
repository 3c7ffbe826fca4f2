"""Batches of crops to train a judge on: drawn by source, made here or by processes of their own."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from adaslide.domain.errors import InputError
from adaslide_models.data.nuclei import Labelled
from adaslide_models.data.nuclei_augment import Augmenter
from adaslide_models.recipes.segmenter import SegmenterConfig

Batch = tuple[Tensor, Tensor, Tensor]
"""(B, 3, S, S) pixels in 0..1, (B, 1, S, S) targets 0..1 and weights."""


def sources_of(examples: list[Labelled], config: SegmenterConfig) -> tuple[list[list[Labelled]], np.ndarray]:
    """The examples of each source that the recipe names, and the share of each. Raises `InputError`."""
    held = {
        source: [example for example in examples if example.entry.source == source]
        for source in config.shares
    }
    held = {source: own for source, own in held.items() if own}
    if not held:
        raise InputError("the split holds no image of a source that the recipe trains on")
    shares = np.array([config.shares[source] for source in held])
    return list(held.values()), shares / shares.sum()


def batches(
    examples: list[Labelled], config: SegmenterConfig, chance: np.random.Generator
) -> Iterator[Batch]:
    """Endless; all chance comes from ``chance``."""
    sources, shares = sources_of(examples, config)
    augmenter = Augmenter(config.side, config.augmentation)
    while True:
        crops = []
        for index in chance.choice(len(sources), config.batch, p=shares):
            own = sources[index]
            crops.append(augmenter(own[chance.integers(len(own))], chance))
        pixels = np.stack([crop.image for crop in crops]).transpose(0, 3, 1, 2)
        yield (
            torch.from_numpy(pixels.astype(np.float32) / 255).contiguous(memory_format=torch.channels_last),
            torch.from_numpy(np.stack([crop.target for crop in crops])[:, None]),
            torch.from_numpy(np.stack([crop.weight for crop in crops])[:, None]),
        )


class _OfWorker(IterableDataset[Batch]):
    """`batches`, each process with a seed of its own."""

    def __init__(self, examples: list[Labelled], config: SegmenterConfig, seeds: Sequence[int]) -> None:
        self._given = examples, config, seeds

    def __iter__(self) -> Iterator[Batch]:
        examples, config, seeds = self._given
        worker = get_worker_info()
        assert worker is not None
        return batches(examples, config, np.random.default_rng(seeds[worker.id]))


def batches_by(
    workers: int, examples: list[Labelled], config: SegmenterConfig, chance: np.random.Generator
) -> Iterator[Batch]:
    """`batches`, made ahead by ``workers`` processes; with 0 here, which alone repeats exactly."""
    if workers == 0:
        yield from batches(examples, config, chance)
    seeds = [int(seed) for seed in chance.integers(2**62, size=workers)]
    dataset = _OfWorker(examples, config, seeds)
    pinned = torch.cuda.is_available()
    yield from DataLoader(dataset, batch_size=None, num_workers=workers, prefetch_factor=8, pin_memory=pinned)
