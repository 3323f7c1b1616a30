"""What a user sees besides the numbers: signatures, modules and errors are torch's."""

from __future__ import annotations

import ast
import copy
import inspect
import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as torch_functional

import activations_ext
from activations_ext import functional as F
from activations_ext import nn
from activations_ext.registry import ACTIVATIONS, by_name
from helpers import (
    DEFAULT_CASES,
    INPLACE_CASES,
    Case,
    assert_same_bits,
    gradient,
    in_place_gradient,
    run_python,
    sample,
)

WITHOUT_ROW = {"prelu", "rrelu", "shift_dropout", "softmax", "softmin", "log_softmax", "logsumexp"}
WITHOUT_ROW |= {"quick_gelu"}

# Of (input, target), or of images: test_cross_entropy.py, test_losses.py, test_softmax.py,
# test_mixture.py and test_likelihood.py.
ELSEWHERE = {
    *("cross_entropy", "CrossEntropyLoss", "linear_cross_entropy", "LinearCrossEntropyLoss"),
    *("nll_loss", "NLLLoss", "Softmax2d"),
}
ELSEWHERE |= {"binary_cross_entropy_with_logits", "BCEWithLogitsLoss"}
ELSEWHERE |= {"kl_divergence", "js_divergence", "top_k_kl_divergence"}  # test_distillation.py
ELSEWHERE |= {"linear_kl_div", "linear_jsd"}  # test_linear_distillation.py
ELSEWHERE |= {"gaussian_mixture_nll_loss", "MixtureDensityHead"}
ELSEWHERE |= {"swiglu", "geglu", "reglu", "glu", "bilinear_glu"}  # test_gated.py
ELSEWHERE |= {"SwiGLU", "GEGLU", "ReGLU", "GLU", "BilinearGLU", "GatedMLP"}
FUNCTIONS = [name for name in F.OWN if callable(getattr(F, name)) and name not in ELSEWHERE]
MODULES = [n for n in nn.OWN if n not in {*ELSEWHERE, "functional"}]
TORCHS_FUNCTIONS = [name for name in FUNCTIONS if hasattr(torch.nn.functional, name)]
TORCHS_MODULES = [name for name in MODULES if hasattr(torch.nn, name)]

# Arguments of a module, where it has to have some or where the usual ones hide a mistake.
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "CELU": (0.7, True),
    "ELU": (0.7, True),
    "GELU": ("tanh",),
    "Hardshrink": (0.3,),
    "Hardtanh": (-2.0, 0.5),
    "LeakyReLU": (0.2, True),
    "PReLU": (3,),
    "RReLU": (0.1, 0.2),
    "ReLU": (True,),
    "ShiftDropout": (0.25, -1.0, True),
    "Softplus": (2.0, 10.0),
    "Softshrink": (0.3,),
    "Threshold": (0.1, 20.0),
}


def make(library: Any, name: str) -> torch.nn.Module:
    module: torch.nn.Module = getattr(library, name)(*ARGUMENTS.get(name, ()))
    return module.eval()


def signature_of(function: Callable[..., Any]) -> list[tuple[str, object]]:
    """Names and defaults. Functions made in C have them in the first line of their docstring."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:
        line = (function.__doc__ or "").strip().splitlines()[0].replace("Tensor", "None")
        definition = ast.parse(f"def {line}: ...").body[0]
        assert isinstance(definition, ast.FunctionDef)
        arguments = definition.args
        defaults = [eval(ast.unparse(default)) for default in arguments.defaults]
        required = [inspect.Parameter.empty] * (len(arguments.args) - len(defaults))
        names = [argument.arg for argument in arguments.args]
        return list(zip(names, [*required, *defaults], strict=True))
    return [(parameter.name, parameter.default) for parameter in parameters]


def test_every_function_of_a_row_is_public_and_the_other_way_round() -> None:
    assert {row.name for row in ACTIVATIONS} | WITHOUT_ROW == {
        name for name in FUNCTIONS if not name.endswith("_")
    }
    for row in ACTIVATIONS:
        assert row.function is getattr(F, row.name)
        assert by_name(row.name) is row
    with pytest.raises(KeyError, match="nothing"):
        by_name("nothing")


def test_every_in_place_function_of_torch_is_here() -> None:
    of_torch = {name + "_" for name in FUNCTIONS if hasattr(torch_functional, name + "_")}
    assert of_torch == {name for name in FUNCTIONS if name.endswith("_")}


def test_every_elementwise_module_of_torch_is_here() -> None:
    others = {"GLU", "MultiheadAttention"}
    assert set(torch.nn.modules.activation.__all__) - others <= set(nn.OWN)


@pytest.mark.parametrize("name", TORCHS_FUNCTIONS)
def test_functions_have_the_signature_of_torch(name: str) -> None:
    ours, torchs = signature_of(getattr(F, name)), signature_of(getattr(torch_functional, name))
    # torch does not mention that some of them take `out`.
    assert [parameter for parameter in ours if parameter != ("out", None)] == torchs


@pytest.mark.parametrize("name", TORCHS_MODULES)
def test_modules_have_the_signature_of_torch(name: str) -> None:
    ours, torchs = getattr(nn, name), getattr(torch.nn, name)
    assert issubclass(ours, torchs)
    assert signature_of(ours) == signature_of(torchs)
    assert signature_of(ours.forward) == signature_of(torchs.forward)


@pytest.mark.parametrize("case", DEFAULT_CASES, ids=str)
def test_rows_tell_the_truth(case: Case) -> None:
    """The operator has the row's parameters, the function its defaults; ``inplace`` is there as the
    row says."""
    _, *parameters = case.operator()._schema.arguments
    assert [parameter.name for parameter in parameters] == list(case.activation.defaults)
    signature = inspect.signature(case.activation.function).parameters
    for parameter in parameters:
        # A fraction in a schema would be read by the C locale.
        assert parameter.default_value is None
        # torch's threshold has none, and the row had to choose some.
        if case.name != "threshold":
            default = case.activation.defaults[parameter.name]
            assert default == signature[parameter.name].default
    assert case.activation.inplace == ("inplace" in signature)
    module = inspect.signature(case.activation.module).parameters
    assert case.activation.inplace == ("inplace" in module)


@pytest.mark.parametrize("library", [F, nn], ids=["functional", "nn"])
def test_everything_public_is_documented(library: Any) -> None:
    for name in library.OWN:
        thing = getattr(library, name)
        if callable(thing):
            assert thing.__doc__, name
            assert thing.__name__ == name


@pytest.mark.slow
def test_import_is_light_and_names_its_version() -> None:
    """torch._dynamo takes a second."""
    printed = run_python(
        "import sys, activations_ext as a; print('torch._dynamo' in sys.modules, a.__version__)"
    )
    assert printed.split() == ["False", activations_ext.__version__]


@pytest.mark.parametrize("name", MODULES)
def test_modules_are_the_functions(name: str) -> None:
    function = next(getattr(F, f) for f in FUNCTIONS if f.replace("_", "") == name.lower())
    module, input = make(nn, name), sample(12).reshape(4, 3)
    arguments = (module.weight,) if name == "PReLU" else ARGUMENTS.get(name, ())
    if name == "ShiftDropout":
        arguments = (*ARGUMENTS[name][:2], False)  # eval: the module's `training`
    assert_same_bits(module(input.clone()), function(input.clone(), *arguments))


@pytest.mark.parametrize("name", TORCHS_MODULES)
def test_modules_print_and_store_what_torchs_do(name: str) -> None:
    ours, torchs = make(nn, name), make(torch.nn, name)
    assert repr(ours) == repr(torchs)
    for parameter in torchs.parameters():
        torch.nn.init.uniform_(parameter)
    assert list(ours.state_dict()) == list(torchs.state_dict())
    ours.load_state_dict(torchs.state_dict(), strict=True)
    torchs.load_state_dict(ours.state_dict(), strict=True)
    torch.testing.assert_close(ours(-torch.ones(4, 3)), torchs(-torch.ones(4, 3)))


@pytest.mark.parametrize("name", MODULES)
def test_modules_survive_copying_and_pickling(name: str) -> None:
    module, input = make(nn, name), sample(12).reshape(4, 3)
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert type(other) is type(module)
        assert repr(other) == repr(module)
        assert_same_bits(other(input.clone()), module(input.clone()))


@pytest.mark.parametrize("name", [name for name in MODULES if hasattr(make(nn, name), "inplace")])
def test_in_place_modules_return_their_input(name: str) -> None:
    module, input = make(nn, name), sample(12)
    module.inplace = True  # type: ignore[assignment]
    module.train()
    assert module(input) is input


def test_shift_dropout_prints_its_arguments() -> None:
    assert "p=0.5, minimum=-1.15242" in repr(nn.ShiftDropout())


@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan])
def test_shift_dropout_refuses_what_is_no_probability(p: float) -> None:
    with pytest.raises(ValueError, match="'p' to be between 0 and 1"):
        nn.ShiftDropout(p)
    for training in (True, False):
        with pytest.raises(ValueError, match="'p' to be between 0 and 1"):
            F.shift_dropout(torch.ones(3), p, training=training)


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name.endswith("_")])
def test_underscore_means_in_place(name: str) -> None:
    arguments = (0.1, 20.0) if name == "threshold_" else ()
    input = sample(100)
    expected = getattr(F, name[:-1])(input, *arguments)
    assert getattr(F, name)(input, *arguments) is input
    assert_same_bits(input, expected)


@pytest.mark.parametrize("case", INPLACE_CASES, ids=str)
def test_in_place_is_a_truth_value(case: Case) -> None:
    input = sample(100)
    before = input.clone()
    for no in (0, None):
        assert case(input, inplace=no) is not input
        assert_same_bits(input, before)
    assert case(input, inplace=1) is input


@pytest.mark.parametrize("case", INPLACE_CASES, ids=str)
def test_in_place_on_a_leaf_is_an_error(case: Case) -> None:
    leaf = sample(5).requires_grad_()
    with pytest.raises(RuntimeError, match="leaf"):
        case(leaf, inplace=True)


@pytest.mark.parametrize("case", INPLACE_CASES, ids=str)
@pytest.mark.compiler
def test_in_place_has_its_gradient_under_compile(case: Case) -> None:
    """Of an activation that saves its input, too, which is no longer there."""
    torch.compiler.reset()
    compiled = torch.compile(lambda x: case(x * 1, inplace=True), fullgraph=True, backend="eager")
    input, grad_output = sample(20), sample(20, seed=1)
    expected = in_place_gradient(case, input, grad_output)
    torch.testing.assert_close(gradient(compiled, input, grad_output), expected, rtol=0, atol=0)


def error_of(function: Callable[..., Any], *arguments: Any) -> type[Exception] | None:
    try:
        function(*arguments)
    except Exception as error:
        return type(error)
    return None


ONES = torch.ones(2, 4)

# The name of a function, its arguments, and the argument that is wrong.
WRONG: list[tuple[str, tuple[Any, ...], str]] = [
    ("celu", (ONES, 0.0), "alpha"),
    ("celu_", (ONES.clone(), 0.0), "alpha"),
    ("hardtanh", (ONES, 1.0, -1.0), "min_val"),
    ("softshrink", (ONES, -0.5), "lambd"),
    ("softshrink", (ONES, math.nan), "lambd"),
    ("rrelu", (ONES, 0.5, 0.1), "lower"),
    ("rrelu", (ONES, 0.5, math.inf), "upper"),
    ("rrelu", (ONES, math.nan, 0.5), "lower"),
    ("rrelu", (ONES, 0.5, 0.1, True), "lower"),
    ("rrelu_", (ONES.clone(), 0.5, 0.1, True), "lower"),
    ("prelu", (ONES, torch.ones(3)), "weight"),
    ("prelu", (ONES, torch.ones(4, 1)), "weight"),
    ("prelu", (ONES, torch.ones(4, dtype=torch.float64)), "weight"),
    ("prelu", (torch.ones(()), torch.ones(2)), "weight"),
    ("prelu", (ONES, 0.25), "weight"),
    ("softplus", ([1.0],), "input"),
    ("softplus", (ONES, None), "beta"),
    ("leaky_relu", (ONES, "0.5"), "negative_slope"),
    ("elu", (ONES, None), "alpha"),
    ("hardshrink", (ONES, "0.5"), "lambd"),
    ("threshold", (ONES, 0.1, "20"), "value"),
]


@pytest.mark.parametrize(("name", "arguments", "wrong"), WRONG)
def test_wrong_arguments_raise_the_error_of_torch_and_are_named(
    name: str, arguments: tuple[Any, ...], wrong: str
) -> None:
    torchs = error_of(getattr(torch_functional, name), *arguments)
    assert torchs is not None
    with pytest.raises(torchs, match=f"'{wrong}'"):
        getattr(F, name)(*arguments)


def test_gelu_refuses_an_unknown_approximation() -> None:
    assert error_of(lambda: torch_functional.gelu(ONES, approximate="erf")) is RuntimeError
    with pytest.raises(RuntimeError, match="'approximate'"):
        F.gelu(ONES, approximate="erf")


@pytest.mark.parametrize("beta", [0.0, -1.0, math.nan])
def test_softplus_of_a_beta_that_is_no_sharpness(beta: float) -> None:
    """torch has a value for it: ∞, a reflected softplus, NaN."""
    x = torch.tensor([-3.0, -0.5, 0.0, 0.5, 3.0])
    expected = torch_functional.softplus(x, beta)
    torch.testing.assert_close(F.softplus(x, beta), expected, equal_nan=True)
