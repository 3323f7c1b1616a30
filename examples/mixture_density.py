"""Mixture density networks: a problem with several answers, and a real regression.

First the inverse problem x = y + 0.3 sin 2πy + noise, whose y has three values for some x: a
mixture of three Gaussians learns the whole distribution, a single one the mean of the answers,
which is none of them (Bishop 1994; Goodfellow et al., Deep Learning, figure 6.4). Then
scikit-learn's diabetes set: the likelihood of held-out targets under a mixture, under a Gaussian
with a learned variance for each input and under one with the same variance for all.

    python examples/mixture_density.py
    python examples/mixture_density.py --components 5 --plot mixture.png --json mixture.json
"""

from __future__ import annotations

import argparse
import copy
import math
import statistics
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

import activations_ext.nn
from activations_ext.likelihood import Gaussian, Likelihood
from activations_ext.nn import MixtureDensityHead
from common import new_figure, positive, save_figure, save_numbers

FOLDS = 5
NOISE = 0.05


class Network(nn.Module):
    """A layer of hidden units, and outputs that ``likelihood`` interprets."""

    def __init__(
        self, inputs: int, hidden: int, targets: int, likelihood: Likelihood | int
    ) -> None:
        """An integer stands for a mixture of that many components."""
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(inputs, hidden), activations_ext.nn.Tanh())
        if isinstance(likelihood, int):
            head = MixtureDensityHead(hidden, targets, likelihood)
            self.head: nn.Module = head
            self.likelihood: Likelihood = head.likelihood
        else:
            self.head = nn.Linear(hidden, likelihood.features(targets))
            self.likelihood = likelihood

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.hidden(x))
        return outputs

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        return self.likelihood.nll(self(x), y)


Data = tuple[Tensor, Tensor]


def fit(
    network: Network, data: Data, steps: int, bar: tqdm[Any], watched: Data | None = None
) -> None:
    """Adam on all the data at once, with a learning rate that decays to 0. With ``watched``, held-
    out
    data, the network ends with the weights of its lowest loss on those."""
    if isinstance(network.head, MixtureDensityHead):
        network.head.init_from_targets(data[1])
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    best, best_state = math.inf, copy.deepcopy(network.state_dict())
    for _ in range(steps):
        optimizer.zero_grad()
        loss = network.loss(*data)
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
        bar.update()
        if watched is not None:
            with torch.no_grad():
                now = network.loss(*watched).item()
            if now < best:
                best, best_state = now, copy.deepcopy(network.state_dict())
    if watched is not None:
        network.load_state_dict(best_state)
    bar.set_postfix(nll=f"{loss.item():.3f}")


def inverse_problem(count: int) -> tuple[Tensor, Tensor]:
    y = torch.rand(count, 1)
    x = y + 0.3 * torch.sin(2 * math.pi * y) + NOISE * torch.randn(count, 1)
    return x, y


def solve_inverse_problem(options: argparse.Namespace, bar: tqdm[Any]) -> dict[str, Any]:
    torch.manual_seed(options.seed)
    x, y = inverse_problem(2000)
    held_out = inverse_problem(2000)
    mixture = Network(1, 32, 1, options.components)
    single = Network(1, 32, 1, Gaussian(None))
    for network in (mixture, single):
        fit(network, (x, y), options.steps, bar)
    head = mixture.head
    assert isinstance(head, MixtureDensityHead)
    along = torch.linspace(float(x.min()), float(x.max()), 200).unsqueeze(1)
    with torch.no_grad():
        weight, mean, scale = head.likelihood.weights_means_scales(mixture(along))
        return {
            "nll": {
                "mixture": mixture.loss(*held_out).item(),
                "single": single.loss(*held_out).item(),
            },
            "effective_components": head.effective_components(mixture(held_out[0])).item(),
            "held_out": held_out,
            "samples": head.sample(mixture(held_out[0])),
            "along": along,
            "weight": weight,
            "mean": mean.squeeze(-1),
            "scale": scale.squeeze(-1),
            "single_mean": single.likelihood.mean(single(along)),
        }


def compare_on_diabetes(options: argparse.Namespace, bar: tqdm[Any]) -> dict[str, list[float]]:
    """The mean loss of each held-out fifth, in nats of the target in its own units. Of the rest, a
    fifth says when to stop: all three would learn the few patients by heart."""
    from sklearn.datasets import load_diabetes
    from sklearn.model_selection import KFold, train_test_split

    data = load_diabetes()
    x, y = (torch.tensor(part, dtype=torch.float32) for part in (data.data, data.target))
    folds = KFold(FOLDS, shuffle=True, random_state=options.seed).split(x)
    losses: dict[str, list[float]] = {}
    for fold, (rest, test) in enumerate(folds):
        train, watched = train_test_split(rest, test_size=0.2, random_state=options.seed)
        deviation, centre = torch.std_mean(x[train], 0)
        spread, middle = torch.std_mean(y[train])
        inputs, targets = (x - centre) / deviation, ((y - middle) / spread).unsqueeze(1)
        learned = (inputs[train], targets[train])
        kinds: dict[str, Likelihood | int] = {
            "mixture": options.components,
            "Gaussian, a variance for each": Gaussian(None),
            "Gaussian, one variance": Gaussian(),
        }
        for name, likelihood in kinds.items():
            torch.manual_seed(options.seed + fold)
            network = Network(x.shape[1], 16, 1, likelihood)
            fit(network, learned, options.steps // 10, bar, (inputs[watched], targets[watched]))
            with torch.no_grad():
                if name == "Gaussian, one variance":  # the likeliest: that of what is left over
                    errors = network(inputs[train]) - targets[train]
                    network.likelihood = Gaussian(errors.square().mean().sqrt().item())
                loss = network.loss(inputs[test], targets[test]) + spread.log()
            losses.setdefault(name, []).append(loss.item())
    return losses


def draw(found: dict[str, Any], path: Path) -> None:
    figure, (samples, parts, weights) = new_figure(1, 3, figsize=(13, 4))
    x, y = found["held_out"]
    samples.scatter(x, y, s=4, alpha=0.4, label="data")
    samples.scatter(x, found["samples"], s=4, alpha=0.4, label="samples")
    along = found["along"].squeeze(1)
    samples.plot(along, found["single_mean"], color="black", label="a single Gaussian's mean")
    samples.set(title="inverse problem", xlabel="x", ylabel="y", ylim=(-0.3, 1.3))
    samples.legend()
    parts.scatter(x, y, s=2, alpha=0.3, color="gray")
    for c in range(found["weight"].shape[1]):
        mean, scale, weight = (found[name][:, c] for name in ("mean", "scale", "weight"))
        (line,) = parts.plot(along, mean)
        parts.fill_between(along, mean - scale, mean + scale, alpha=0.3, color=line.get_color())
        weights.plot(along, weight, label=f"component {c + 1}")
    parts.set(title="means, and standard deviations", xlabel="x", ylim=(-0.3, 1.3))
    weights.set(title="weights", xlabel="x")
    weights.legend()
    save_figure(figure, path)


def report(found: dict[str, Any], diabetes: dict[str, list[float]]) -> None:
    print("\nInverse problem, −log likelihood of 2,000 held-out targets:")
    for name, loss in found["nll"].items():
        print(f"  {name:<32} {loss:>7.3f}")
    print(f"  components in use: {found['effective_components']:.2f}")
    print(f"\nDiabetes, −log likelihood of held-out targets ({FOLDS} folds, mean ± deviation):")
    for name, losses in diabetes.items():
        print(f"  {name:<32} {statistics.mean(losses):>7.3f} ± {statistics.stdev(losses):.3f}")


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Fit mixture density networks to an inverse problem and to real data",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--components", type=positive, default=3, help=" ")
    parser.add_argument("--steps", type=positive, default=3000, help=" ")
    parser.add_argument("--seed", type=int, default=0, help=" ")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the inverse problem")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures down")
    return parser.parse_args()


def main() -> None:
    options = parse_options()
    total = 2 * options.steps + 3 * FOLDS * (options.steps // 10)
    with tqdm(total=total, unit="step") as bar:
        found = solve_inverse_problem(options, bar)
        diabetes = compare_on_diabetes(options, bar)
    report(found, diabetes)
    if options.plot:
        draw(found, options.plot)
    if options.json:
        numbers = {
            "components": options.components,
            "steps": options.steps,
            "seed": options.seed,
            "inverse_problem": {n: found[n] for n in ("nll", "effective_components")},
            "diabetes": diabetes,
        }
        save_numbers(numbers, options.json)


if __name__ == "__main__":
    main()
