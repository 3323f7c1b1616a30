"""Networks that several examples train, and how they are fed and judged."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from image_data import Images

MakeActivation = Callable[[], nn.Module]

# √2 keeps the size of what ReLU and its like let through (He et al. 2015); 1 is for functions that
# are near the identity at 0, and makes SELU and SERLU normalise themselves (Klambauer et al. 2017).
GAINS = {"ReLU": math.sqrt(2), "LeakyReLU": math.sqrt(2), "PReLU": math.sqrt(2)}


def convolutional(make: MakeActivation, images: Images) -> nn.Sequential:
    """Three convolutions and two layers of units; torch's initial weights."""
    channels, height, width = images.train.shape[1:]
    return nn.Sequential(
        nn.Conv2d(channels, 32, kernel_size=3, padding=1),
        make(),
        nn.Conv2d(32, 64, kernel_size=2, stride=2),
        make(),
        nn.Conv2d(64, 64, kernel_size=2, stride=2),
        make(),
        nn.Flatten(),
        nn.Linear(64 * (height // 4) * (width // 4), 128),
        make(),
        nn.Linear(128, images.classes),
    )


def dense(make: MakeActivation, widths: Sequence[int]) -> nn.Sequential:
    """Linear layers with an activation behind each but the last."""
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs in pairwise(widths):
        layers += [with_normal_weights(nn.Linear(inputs, outputs), make), make()]
    return nn.Sequential(*layers[:-1])


def with_normal_weights(layer: nn.Linear | nn.Conv2d, make: MakeActivation) -> nn.Module:
    """Normal initial weights with the activation's gain, so that signals keep their size through
    any number of layers, and no biases."""
    gain = GAINS.get(type(make()).__name__, 1.0)
    nn.init.normal_(layer.weight, std=gain / math.sqrt(layer.weight[0].numel()))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def batches(images: Images, size: int, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
    """``steps`` random batches; each image comes once before any comes again."""
    order = torch.empty(0, dtype=torch.int64)
    size = min(size, len(images.train))
    for _ in range(steps):
        if len(order) < size:
            order = torch.randperm(len(images.train))
        chosen, order = order[:size], order[size:]
        yield images.train[chosen], images.train_labels[chosen]


@torch.no_grad()
def accuracy(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    results = [network(some).argmax(1) for some in torch.split(images, 500)]
    return (torch.cat(results) == labels).double().mean().item()
