# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # Modern activation functions
#
# A notebook for the lecture. `jupytext --to ipynb modern_activations.py` makes a notebook of this
# file, and `python modern_activations.py` runs it. Every cell takes a few seconds on two cores.

# %%
from __future__ import annotations

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits

import activations_ext.functional as F
from activations_ext import nn
from activations_ext.likelihood import Gaussian
from activations_ext.monitor import ActivationMonitor

torch.manual_seed(0)

# %% [markdown]
# ## 1. Saturation: where the slope is flat, nothing is learned
#
# The slope of the logistic function is at most ¼, and less than 0.01 beyond |x| = 4.6.

# %%
x = torch.linspace(-6, 6, 601, requires_grad=True)
figure, axes = plt.subplots(1, 3, figsize=(12, 3), sharey=True)
for axis, function in zip(axes, (F.sigmoid, F.tanh, F.relu), strict=True):
    y = function(x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    axis.plot(x.detach(), y.detach(), label="value")
    axis.plot(x.detach(), slope, label="slope")
    axis.set(title=function.__name__, ylim=(-1.2, 2))
axes[0].legend()
largest_slope = torch.autograd.grad(F.sigmoid(x).sum(), x)[0].max().item()
print(f"largest slope of the logistic function: {largest_slope:.4f}")


# %% [markdown]
# ## 2. Vanishing gradients
#
# A product of slopes below 1 shrinks exponentially with depth. We compare the norm of the first
# layer's gradient with the last one's, with the usual initial weights.


# %%
def gradient_ratio(activation: type[torch.nn.Module], depth: int, gain: float) -> float:
    linears = [nn.Linear(128, 128) for _ in range(depth)]
    for linear in linears:
        torch.nn.init.normal_(linear.weight, std=gain / 128**0.5)
    network = nn.Sequential(*(layer for linear in linears for layer in (linear, activation())))
    weights = linears[0].weight, linears[-1].weight
    first, last = torch.autograd.grad(network(torch.randn(64, 128)).sum(), weights)
    return float(first.norm() / last.norm())


depths = (2, 5, 10, 20)
ratios = {
    activation.__name__: [gradient_ratio(activation, depth, gain) for depth in depths]
    for activation, gain in ((nn.Sigmoid, 1.0), (nn.Tanh, 1.0), (nn.ReLU, 2**0.5))
}
plt.figure(figsize=(5, 3))
for name, values in ratios.items():
    plt.semilogy(depths, values, marker="o", label=name)
plt.xlabel("layers")
plt.ylabel("gradient of the first / the last")
plt.legend()
for name, values in ratios.items():
    print(f"{name:8} {values[-1]:.1e} over {depths[-1]} layers")

# %% [markdown]
# ## 3. Dying units
#
# A step that is too large pushes a ReLU's input below 0 for every example. The monitor counts units
# without a slope. Leaky ReLU keeps one.

# %%
digits = load_digits()
images = torch.tensor(digits.data, dtype=torch.float32) / 16
labels = torch.tensor(digits.target)


def dead_share(activation: torch.nn.Module, rate: float) -> float:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(64, 128), activation, nn.Linear(128, 10))
    optimizer = torch.optim.SGD(network.parameters(), rate, momentum=0.9)
    monitor = ActivationMonitor(network, every=1)
    for _ in range(60):
        optimizer.zero_grad()
        F.cross_entropy(network(images), labels).backward()
        optimizer.step()
        monitor.update()
    share = monitor.compute().layers["1"].units.dead.float().mean().item()
    monitor.close()
    return share


dead = {rate: (dead_share(nn.ReLU(), rate), dead_share(nn.LeakyReLU(), rate)) for rate in (0.1, 3)}
for rate, (relu, leaky) in dead.items():
    print(f"learning rate {rate}: {relu:.0%} of the ReLUs are dead, {leaky:.0%} of the leaky ones")

# %% [markdown]
# ## 4. Output activations are likelihoods
#
# The squared error is a Gaussian's log-likelihood. A second output for log σ tells how certain the
# network is.

# %%
inputs = torch.linspace(-1, 1, 400).unsqueeze(1)
targets = inputs.sin() + 0.3 * inputs.abs() * torch.randn_like(inputs)
family = Gaussian(None)
network = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 2))
optimizer = torch.optim.Adam(network.parameters(), 0.01)
for _ in range(300):
    optimizer.zero_grad()
    family.nll(network(inputs), targets).backward()
    optimizer.step()
distribution = family.distribution(network(inputs).detach())
middle, edge = (distribution.stddev.flatten()[i].item() for i in (200, 0))
print(f"σ in the middle {middle:.2f}, at the edge {edge:.2f}: the noise grows with |x|")

# %% [markdown]
# ## 5. When one answer is not enough: a mixture density network
#
# x = y + 0.3·sin 2πy has up to three answers y for one x. The mean of a single
# Gaussian lies between them, where there are no data.

# %%
answers = torch.rand(1000, 1)
questions = answers + 0.3 * (2 * torch.pi * answers).sin() + 0.05 * torch.randn_like(answers)
head = nn.MixtureDensityHead(32, 1, components=3)
head.init_from_targets(answers)
body = nn.Sequential(nn.Linear(1, 32), nn.Tanh())
optimizer = torch.optim.Adam([*body.parameters(), *head.parameters()], 0.01)
losses = []
for _ in range(400):
    optimizer.zero_grad()
    loss = head.nll(head(body(questions)), answers)
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
samples = head.sample(head(body(questions)).detach())
plt.figure(figsize=(4, 4))
plt.scatter(questions, answers, s=2, label="data")
plt.scatter(questions, samples, s=2, label="samples of the network")
plt.legend()
print(f"negative log-likelihood: {losses[0]:.2f} at first, {losses[-1]:.2f} at last")
