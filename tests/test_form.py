"""Modules are of torch's exact types, so that tools which look those up know them; and whatever
copies a module keeps our forward."""

from __future__ import annotations

import copy
import io
import pickle
from pathlib import Path
from typing import Any

import activations_ext.nn.functional as F
import pytest
import torch
from torch import Tensor
from torch.ao import quantization
from torch.overrides import TorchFunctionMode

from activations_ext import nn
from activations_ext.export import to_torch_
from activations_ext.nn.form import class_of
from helpers import run_python, sample

ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "Threshold": (0.1, 2.0),
    "LinearCrossEntropyLoss": (4, 3),
    "MixtureDensityHead": (4, 1, 2),
    "GatedMLP": (4,),
    **dict.fromkeys(("Softmax", "Softmin", "LogSoftmax"), (1,)),
}
NAMES = [name for name in nn.OWN if isinstance(getattr(nn, name), type)]
TORCHS = [name for name in NAMES if hasattr(torch.nn, name)]
ACTIVATIONS = [name for name in TORCHS if "Loss" not in name and name != "Softmax2d"]


def make(name: str, library: Any = nn) -> torch.nn.Module:
    module: torch.nn.Module = getattr(library, name)(*ARGUMENTS.get(name, ()))
    return module


class Seen(TorchFunctionMode):
    """Writes down which functions are called."""

    def __init__(self) -> None:
        super().__init__()
        self.functions: list[Any] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.functions.append(func)
        return func(*args, **(kwargs or {}))


def is_ours(module: torch.nn.Module) -> bool:
    """Its call reaches our function."""
    x = sample(20).view(5, 4)
    with Seen() as seen:
        module(x)
    places = [getattr(function, "__module__", None) or "" for function in seen.functions]
    return any(place.startswith("activations_ext.") for place in places)


@pytest.mark.parametrize("name", TORCHS)
def test_the_type_is_torchs(name: str) -> None:
    ours, torchs = make(name), make(name, torch.nn)
    assert type(ours) is type(torchs)
    assert class_of(ours) is getattr(nn, name)
    assert isinstance(ours, getattr(nn, name))
    assert isinstance(ours, getattr(torch.nn, name))
    assert not isinstance(torchs, getattr(nn, name))
    assert not isinstance(3, getattr(nn, name))
    assert repr(ours) == repr(torchs)
    assert issubclass(getattr(nn, name), getattr(torch.nn, name))


COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "deepcopy of a model": lambda m: copy.deepcopy(torch.nn.Sequential(m))[0],
    "deepcopy of a copy": lambda m: copy.deepcopy(copy.copy(m)),
    **{f"pickle {p}": lambda m, p=p: pickle.loads(pickle.dumps(m, p)) for p in (2, 4, 5)},
    "torch.save": lambda m: saved(torch.nn.Sequential(m))[0],
}


def saved(module: torch.nn.Module) -> Any:
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("name", TORCHS)
def test_copies_are_independent_and_ours(name: str, how: str) -> None:
    module = make(name).eval()
    module.register_forward_hook(passes_on)
    other = COPIES[how](module)
    assert type(other) is type(module)
    assert class_of(other) is getattr(nn, name)
    assert other.forward.__self__ is other
    assert not other.training
    assert len(other._forward_hooks) == 1
    if how == "copy" and hasattr(module, "negative_slope"):
        other.negative_slope = 0.5
        assert other(torch.tensor(-1.0)) == -0.5
        assert module(torch.tensor(-1.0)) == -0.01


def passes_on(*_: Any) -> None:
    """A hook that pickle finds."""


@pytest.mark.parametrize("name", TORCHS)
def test_torchs_own_are_copied_as_ever(name: str) -> None:
    for how in COPIES.values():
        other = how(make(name, torch.nn))
        assert type(other) is getattr(torch.nn, name)
        assert "forward" not in other.__dict__


def test_users_subclasses_are_theirs() -> None:
    class Twice(nn.LeakyReLU):
        def forward(self, input: Tensor) -> Tensor:
            return 2 * super().forward(input)

    class Named(nn.ReLU):
        pass

    twice, named = Twice(0.5), Named()
    assert type(twice) is Twice
    assert isinstance(twice, nn.LeakyReLU)
    assert isinstance(twice, torch.nn.LeakyReLU)
    assert twice(torch.tensor(-1.0)) == -1
    assert type(copy.deepcopy(twice)) is Twice
    assert type(named) is Named
    assert is_ours(named)
    assert not isinstance(nn.ReLU(), Named)
    to_torch_(named)
    assert type(named) is Named
    assert not is_ours(named)


def test_to_torch_reaches_parametrized_modules() -> None:
    class Positive(torch.nn.Module):
        def forward(self, weight: Tensor) -> Tensor:
            return weight.exp()

    prelu = nn.PReLU(4)
    torch.nn.utils.parametrize.register_parametrization(prelu, "weight", Positive())
    x = sample(20).view(5, 4)
    assert is_ours(prelu)
    assert is_ours(copy.deepcopy(prelu))
    expected = prelu(x)
    to_torch_(prelu)
    assert not is_ours(prelu)
    torch.testing.assert_close(prelu(x), expected)


def test_to_torch_leaves_what_torch_cannot_do() -> None:
    x, t = sample(20).view(5, 4), torch.arange(5) % 4
    model = torch.nn.ModuleList(
        [nn.CrossEntropyLoss(z_loss=0.1), nn.SERLU(), nn.CrossEntropyLoss()]
    )
    before = model[0](x, t)
    to_torch_(model)
    assert model[0](x, t) == before
    assert [class_of(m) for m in model] == [None, None, None]
    assert type(model[0]) is nn.CrossEntropyLoss
    assert type(model[2]) is torch.nn.CrossEntropyLoss


@pytest.mark.slow
def test_what_to_torch_made_loads_without_this_package(tmp_path: Path) -> None:
    model = to_torch_(torch.nn.Sequential(nn.PReLU(4), nn.GELU(), nn.Softmax(1)))
    x = sample(20).view(5, 4)
    torch.save((model, x, model(x).detach()), tmp_path / "model.pt")
    run_python(
        "import sys; sys.modules['activations_ext'] = None\n"
        "import torch\n"
        "model, x, y = torch.load(sys.argv[1], weights_only=False)\n"
        "torch.testing.assert_close(model(x), y)",
        str(tmp_path / "model.pt"),
    )


def model() -> torch.nn.Module:
    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = torch.nn.Sequential(torch.nn.Linear(4, 4), nn.ELU(0.7), nn.Mish())
            self.last = nn.PReLU(4)

        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = self.last(self.parts(x))
            return result

    return Model().eval()


def test_scripting_leaves_the_model_as_it_was() -> None:
    """Its modules were replaced by torch's."""
    eager, x = model(), sample(20).view(5, 4)
    before = [(name, id(m), class_of(m)) for name, m in eager.named_modules()]
    scripted = torch.jit.script(eager)
    assert [(name, id(m), class_of(m)) for name, m in eager.named_modules()] == before
    torch.testing.assert_close(scripted(x), eager(x))
    assert "activations_ext::" not in str(scripted.inlined_graph)


class WithLoss(torch.nn.Module):
    def __init__(self, **options: float) -> None:
        super().__init__()
        self.loss = nn.CrossEntropyLoss(label_smoothing=0.1, **options)

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        result: Tensor = self.loss(x, target)
        return result


def test_options_beyond_torch_cannot_be_scripted() -> None:
    """They were dropped, in the eager model too."""
    x, t = sample(20).view(5, 4), torch.arange(5) % 4
    plain = WithLoss()
    torch.testing.assert_close(torch.jit.script(plain)(x, t), plain(x, t))
    for options in ({"z_loss": 0.5}, {"softcap": 3.0, "zero_if_empty": True}):
        special = WithLoss(**options)
        before = special(x, t)
        with pytest.raises(NotImplementedError, match=next(iter(options))):
            torch.jit.script(special)
        assert special(x, t) == before


@pytest.mark.parametrize("training", [True, False])
def test_a_scripted_shift_dropout_drops_in_training_only(training: bool) -> None:
    """``training`` was bound to ``inplace``."""

    def dropped(x: Tensor, training: bool) -> Tensor:
        return F.shift_dropout(x, 0.5, -1.0, training)

    scripted, x = torch.jit.script(dropped), torch.ones(1000)
    result = scripted(x, training)
    assert (x == 1).all()
    assert bool((result == -1).any()) == training
    module = torch.jit.script(torch.nn.Sequential(nn.ShiftDropout(0.5, -1.0)).train(training))
    assert bool((module(x) == -1).any()) == training


@pytest.mark.parametrize(
    "name", [n for n in NAMES if "Loss" not in n and n not in ("MixtureDensityHead", "GatedMLP")]
)
def test_fx_takes_modules_for_leaves(name: str) -> None:
    network = torch.nn.Sequential(torch.nn.Identity(), make(name))
    traced = torch.fx.symbolic_trace(network)
    targets = [node.target for node in traced.graph.nodes if node.op == "call_module"]
    assert targets == ["0", "1"]
    x = sample(60).view(1, 3, 5, 4)
    if name in ("RReLU", "ShiftDropout"):
        assert not torch.equal(traced(x), traced(x))
        traced.eval()
        network.eval()
    torch.testing.assert_close(traced(x), network(x))
    for other in (copy.deepcopy(traced), pickle.loads(pickle.dumps(traced))):
        torch.testing.assert_close(other(x), network(x))


@pytest.mark.compiler
def test_compiled_and_exported_modules_find_our_forward() -> None:
    graphs: list[Any] = []

    def backend(graph: Any, _: Any) -> Any:
        graphs.append(graph)
        return graph

    eager, x = model(), sample(20).view(5, 4)
    torch.testing.assert_close(torch.compile(eager, backend=backend)(x), eager(x))
    assert "activations_ext.mish" in str([n.target for n in graphs[0].graph.nodes])
    own = torch.nn.Sequential(nn.SERLU(), nn.Exp(), nn.SquaredReLU(), nn.ShiftDropout()).eval()
    torch.testing.assert_close(torch.compile(own, backend=backend, fullgraph=True)(x), own(x))


def test_quantization_fuses_them() -> None:
    def parts(library: Any) -> torch.nn.Module:
        torch.manual_seed(0)
        return torch.nn.Sequential(
            torch.nn.Conv2d(1, 3, 3), torch.nn.BatchNorm2d(3), library.ReLU()
        ).eval()

    fused = quantization.fuse_modules(parts(nn), [["0", "1", "2"]])
    assert type(fused[0]) is torch.ao.nn.intrinsic.ConvReLU2d
    x = sample(64).view(1, 1, 8, 8)
    torch.testing.assert_close(fused(x), parts(torch.nn)(x))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("activation", ["ReLU", "Hardswish", "Sigmoid", "LeakyReLU", "ELU"])
def test_fx_quantization_quantizes_them(activation: str) -> None:
    """``Sequential(Linear, ReLU, Linear)`` was left in float, without a word."""
    from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

    def quantized(library: Any) -> Any:
        torch.manual_seed(0)
        network = torch.nn.Sequential(
            torch.nn.Linear(4, 8), make(activation, library), torch.nn.Linear(8, 2)
        ).eval()
        x = sample(20).view(5, 4)
        mapping = quantization.get_default_qconfig_mapping("x86")
        prepared = prepare_fx(network, mapping, (x,))
        prepared(x)
        converted = convert_fx(prepared)
        return [type(m) for m in converted.modules()], converted(x)

    ours, torchs = quantized(nn), quantized(torch.nn)
    assert ours[0][1:] == torchs[0][1:]
    torch.testing.assert_close(ours[1], torchs[1])
    assert any("quantized" in str(kind) for kind in ours[0])


@pytest.mark.parametrize("name", ["ReLU", "ELU", "LeakyReLU", "Sigmoid", "Tanh", "Softplus"])
def test_captum_attributes_as_to_torchs(name: str) -> None:
    """DeepLift gave 3 instead of 2 for ``Sequential(Linear(1, 1), ReLU())``."""
    attr = pytest.importorskip("captum.attr")

    def attributed(library: Any) -> Tensor:
        linear = torch.nn.Linear(1, 1)
        torch.nn.init.constant_(linear.weight, 3.0)
        torch.nn.init.constant_(linear.bias, -1.0)
        network = torch.nn.Sequential(linear, make(name, library))
        result: Tensor = attr.DeepLift(network).attribute(
            torch.tensor([[1.0]]), torch.tensor([[0.0]])
        )
        return result

    torch.testing.assert_close(attributed(nn), attributed(torch.nn))
    if name == "ReLU":
        assert attributed(nn) == 2


def test_functional_call_and_data_parallel_replicas_have_their_own_weights() -> None:
    prelu, x = nn.PReLU(4), -torch.ones(2, 4)
    weight = {"weight": torch.full((4,), 3.0)}
    assert torch.equal(torch.func.functional_call(prelu, weight, (x,)), 3 * x)
    replica = prelu._replicate_for_data_parallel()
    replica.weight = torch.full((4,), 2.0)
    assert torch.equal(replica(x), 2 * x)


@pytest.mark.slow
def test_our_functions_in_the_place_of_torchs() -> None:
    """They called themselves for ever where torch's had to run."""
    code = """
import torch
import torch.nn.functional as T
from activations_ext import functional as F
whole, x, t = torch.arange(8).view(2, 4), torch.randn(2, 4), torch.tensor([0, 2])
functions = [n for n in F.OWN if callable(getattr(F, n)) and hasattr(T, n)]
arguments = {n: (t,) for n in ('cross_entropy', 'nll_loss')}
arguments |= {n: (1,) for n in ('softmax', 'log_softmax', 'softmin')}
arguments |= {'threshold': (0.1, 2.0), 'threshold_': (0.1, 2.0), 'prelu': (torch.ones(1),)}
arguments |= {'linear_cross_entropy': (torch.randn(3, 4), t)}
arguments |= {'binary_cross_entropy_with_logits': (x.sigmoid(),)}

def outcome(function, input, name):
    try:
        return function(input.clone(), *arguments.get(name, ()))
    except Exception as error:
        assert not isinstance(error, RecursionError), name
        return type(error)

def outcomes(names):
    for name in names:
        function = getattr(T, name)
        yield name, outcome(function, whole, name)
        yield name, outcome(function, x.to(torch.complex64), name)
        yield name, outcome(function, x.to_sparse(), name)
        yield name, outcome(function, [1.0], name)
        if name not in ('rrelu', 'rrelu_'):
            traced = torch.jit.trace(lambda v: function(v * 1, *arguments.get(name, ())), x)
            yield name, traced(x)

before = list(outcomes(functions))
for name in functions:
    setattr(T, name, getattr(F, name))
for (name, a), (_, b) in zip(before, outcomes(functions), strict=True):
    if isinstance(a, torch.Tensor):
        if not a.is_sparse:
            torch.testing.assert_close(b, a, equal_nan=True)
    else:
        assert b is a, (name, a, b)
exported = torch.export.export(torch.nn.Sequential(torch.nn.ReLU(), torch.nn.GELU()), (x,))
assert 'aten.relu' in str(exported.graph)
print(len(functions))
"""
    assert int(run_python(code)) > 30
