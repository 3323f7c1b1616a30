"""The negative log-likelihood of mixtures of Gaussians: values and derivatives against
torch.distributions in float64, and where that underflows against the formula itself."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch import distributions as D
from torch._subclasses import FakeTensorMode
from torch.func import grad, hessian, jvp, vmap
from torch.fx.experimental.proxy_tensor import make_fx

from activations_ext import functional as F
from activations_ext.functional import mixtures

nll = F.gaussian_mixture_nll_loss
SCALES = {
    "exp": torch.exp,
    "softplus": torch.nn.functional.softplus,
    "elu": lambda s: torch.nn.functional.elu(s) + 1,
    "identity": lambda s: s,
}
Arguments = tuple[Tensor, Tensor, Tensor, Tensor]


def arguments(
    batch: tuple[int, ...] = (37,),
    components: int = 3,
    dimensions: int = 2,
    dtype: torch.dtype = torch.float64,
    scale_by: str = "identity",
) -> Arguments:
    torch.manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*batch, *shape, dtype=torch.float64)

    scale = normal(components, dimensions)
    parts = (
        normal(components),
        normal(components, dimensions),
        scale.abs() + 0.1 if scale_by == "identity" else scale,
        normal(dimensions),
    )
    return tuple(part.to(dtype).requires_grad_() for part in parts)  # type: ignore[return-value]


def torchs(
    logits: Tensor, mean: Tensor, scale: Tensor, target: Tensor, *, scale_by: str, floor: float
) -> Tensor:
    normal = D.Normal(mean, SCALES[scale_by](scale) + floor)
    mixture = D.MixtureSameFamily(D.Categorical(logits=logits), D.Independent(normal, 1))
    result: Tensor = -mixture.log_prob(target)
    return result


@pytest.mark.parametrize("scale_by", SCALES)
@pytest.mark.parametrize("floor", [0.0, 0.25])
@pytest.mark.parametrize(
    ("batch", "components", "dimensions"),
    [
        ((1,), 1, 1),
        ((37,), 3, 2),
        ((5, 7), 8, 4),
        ((3,), 40, 31),
        ((), 2, 3),
        ((19,), 3, 16),  # whole vectors
        ((19,), 33, 70),  # vectors, and a part of one
        ((3,), 700, 64),  # more slopes than the cache takes
    ],
)
@pytest.mark.each_capability
def test_values_and_gradients_are_those_of_torch_distributions(
    batch: tuple[int, ...], components: int, dimensions: int, scale_by: str, floor: float
) -> None:
    given = arguments(batch, components, dimensions, scale_by=scale_by)
    ours = nll(*given, scale_by=scale_by, floor=floor, reduction="none")
    expected = torchs(*given, scale_by=scale_by, floor=floor)
    assert ours.shape == batch
    torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-10)
    weight = torch.linspace(-1, 2, ours.numel(), dtype=torch.float64).reshape(batch)
    for a, b in zip(
        torch.autograd.grad((ours * weight).sum(), given),
        torch.autograd.grad((expected * weight).sum(), given),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("scale_by", SCALES)
def test_gradcheck(scale_by: str) -> None:
    given = arguments((4,), 3, 2, scale_by=scale_by)

    def f(*parts: Tensor) -> Tensor:
        return nll(*parts, scale_by=scale_by, floor=0.1, reduction="none")

    torch.autograd.gradcheck(f, given, check_forward_ad=True, check_batched_grad=True)
    torch.autograd.gradgradcheck(f, given, check_fwd_over_rev=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("scale_by", SCALES)
def test_of_fewer_digits(dtype: torch.dtype, scale_by: str) -> None:
    """The numbers are read as they are, computed in float32 and rounded once."""
    given = arguments((70,), 5, 3, dtype=dtype, scale_by=scale_by)
    exact = tuple(part.detach().double().requires_grad_() for part in given)
    ours = nll(*given, scale_by=scale_by, floor=0.01, reduction="none")
    expected = torchs(*exact, scale_by=scale_by, floor=0.01)
    assert ours.dtype == dtype
    ulp = torch.finfo(dtype).eps
    torch.testing.assert_close(ours.double(), expected, rtol=ulp, atol=max(ulp / 4, 2e-6))
    got = torch.autograd.grad(ours.sum(), given)
    for a, b in zip(got, torch.autograd.grad(expected.sum(), exact), strict=True):
        assert a.dtype == dtype
        atol = 1e-4 if dtype == torch.float32 else 4 * ulp
        torch.testing.assert_close(a.double(), b, rtol=4 * ulp, atol=atol)


def test_layouts() -> None:
    given = arguments((6, 5), 4, 3)
    expected = nll(*given, reduction="none")
    turned = tuple(part.movedim(0, -1).contiguous().movedim(-1, 0) for part in given)
    torch.testing.assert_close(nll(*turned, reduction="none"), expected, rtol=0, atol=0)
    logits, mean, scale, target = given
    raw = torch.cat([logits, mean.flatten(2), scale.flatten(2)], -1)  # as a linear layer has them
    parts = raw.split([4, 12, 12], -1)
    cut = (parts[0], parts[1].unflatten(-1, (4, 3)), parts[2].unflatten(-1, (4, 3)), target)
    torch.testing.assert_close(nll(*cut, reduction="none"), expected, rtol=0, atol=0)


def test_one_mixture_for_many_targets() -> None:
    logits, mean, scale, _ = arguments((), 4, 3)
    target = torch.randn(6, 5, 3, dtype=torch.float64)
    ours = nll(logits, mean, scale, target, reduction="none")
    expected = torchs(logits, mean, scale, target, scale_by="identity", floor=0.0)
    torch.testing.assert_close(ours, expected)
    for a, b in zip(
        torch.autograd.grad(ours.sum(), (logits, mean, scale)),
        torch.autograd.grad(expected.sum(), (logits, mean, scale)),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_reductions_and_nothing() -> None:
    given = arguments()
    each = nll(*given, reduction="none")
    torch.testing.assert_close(nll(*given), each.mean())
    torch.testing.assert_close(nll(*given, reduction="sum"), each.sum())
    empty = tuple(part[:0] for part in given)
    assert nll(*empty, reduction="none").shape == (0,)
    assert nll(*empty).isnan()
    torch.autograd.grad(nll(*empty, reduction="sum"), given)


def test_the_result_does_not_depend_on_the_number_of_threads() -> None:
    given = arguments((4099,), 5, 3, torch.float32)
    threads = torch.get_num_threads()
    results = []
    try:
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            loss = nll(*given, reduction="none")
            results.append((loss, *torch.autograd.grad(loss.sum(), given)))
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=0)


@pytest.mark.each_capability
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("dimensions", [3, 16, 70])
def test_a_mixture_does_not_depend_on_its_neighbours(dimensions: int, dtype: torch.dtype) -> None:
    given = arguments((21,), 5, dimensions, dtype, scale_by="exp")

    def of(rows: slice) -> list[Tensor]:
        some = tuple(part[rows].detach().requires_grad_() for part in given)
        loss = nll(*some, scale_by="exp", reduction="none")
        return [loss, *torch.autograd.grad(loss.sum(), some)]

    whole = of(slice(None))
    for first, last in ((0, 1), (7, 8), (4, 21)):
        for a, b in zip(whole, of(slice(first, last)), strict=True):
            assert torch.equal(a[first:last], b)


# --- what else differentiates, transforms and compiles --------------------------------------------


def test_functorch() -> None:
    given = arguments((6,), 3, 2)
    target = given[3].detach()

    def of_one(mean: Tensor, logits: Tensor, scale: Tensor, y: Tensor) -> Tensor:
        return nll(logits, mean, scale, y)

    logits, mean, scale, _ = (part.detach() for part in given)
    each = vmap(grad(of_one))(mean, logits, scale, target)
    expected = torch.autograd.grad(nll(*given, reduction="sum"), given[1])[0]
    torch.testing.assert_close(each, expected)
    _, tangent = jvp(lambda m: nll(logits, m, scale, target), (mean,), (torch.ones_like(mean),))
    torch.testing.assert_close(tangent, expected.sum() / 6)
    second = hessian(lambda m: nll(logits[0], m, scale[0], target[0]))(mean[0])
    assert second.shape == (3, 2, 3, 2)
    assert second.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.compiler
def test_compile(dtype: torch.dtype) -> None:
    given = arguments((19,), 3, 2, dtype, scale_by="exp")

    def f(*parts: Tensor) -> Tensor:
        return nll(*parts, scale_by="exp", floor=0.1)

    torch._dynamo.reset()
    compiled = torch.compile(f, fullgraph=True, backend="aot_eager")(*given)
    torch.testing.assert_close(compiled, f(*given))
    for a, b in zip(
        torch.autograd.grad(compiled, given), torch.autograd.grad(f(*given), given), strict=True
    ):
        torch.testing.assert_close(a, b)


def test_nothing_is_looked_at_while_something_only_traces() -> None:
    class Loss(torch.nn.Module):
        def forward(self, *given: Tensor) -> Tensor:
            return nll(*given)

    given = tuple(part.detach() for part in arguments((5,), 3, 2, torch.float32))
    for strict in (False, True):
        exported = torch.export.export(Loss(), given, strict=strict).module()
        torch.testing.assert_close(exported(*given), nll(*given))
    torch.testing.assert_close(make_fx(Loss())(*given)(*given), nll(*given))
    with FakeTensorMode() as mode:
        fake = [mode.from_tensor(part) for part in given]
        assert nll(*fake).shape == ()
    assert nll(*fake, reduction="none").shape == (5,)


def test_the_operators_keep_their_contract() -> None:
    given = arguments((5,), 3, 2, torch.float32)
    operators = torch.ops.activations_ext
    torch.library.opcheck(operators.mixture_nll.default, (*given, 3, 0.0))
    rest = (torch.ones(5), *(part.detach() for part in given), 3, 0.0)
    torch.library.opcheck(operators.mixture_nll_backward.default, rest)


def test_autocast_computes_in_full() -> None:
    given = arguments((5,), 3, 2, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        loss = nll(given[0].bfloat16(), given[1].bfloat16(), given[2], given[3])
    assert loss.dtype == torch.float32


def test_overrides_are_shown_the_public_function() -> None:
    seen = []

    class Watch(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            seen.append(func)
            return func(*args, **(kwargs or {}))

    given = arguments()
    with Watch():
        nll(*given)
    assert seen[0] is nll


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "argument"),
    [
        ({"scale": torch.zeros(4, 3, 2)}, "scale"),
        ({"scale": torch.full((4, 3, 2), -1.0)}, "scale"),
        ({"scale": torch.full((4, 3, 2), torch.nan)}, "scale"),
        ({"target": torch.full((4, 2), torch.nan)}, "target"),
        ({"logits": torch.zeros(4, 2)}, "logits"),
        ({"scale": torch.ones(4, 2, 3)}, "scale"),
        ({"target": torch.zeros(4, 3)}, "target"),
        ({"target": torch.zeros(())}, "target"),
        ({"mean": torch.zeros(3)}, "mean"),
        ({"mean": torch.zeros(4, 0, 2)}, "mean"),
        ({"scale_by": "square"}, "scale_by"),
        ({"reduction": "median"}, "reduction"),
        ({"floor": -1.0}, "floor"),
        ({"floor": math.nan}, "floor"),
    ],
)
def test_errors_name_the_argument(change: dict[str, object], argument: str) -> None:
    given: dict[str, object] = {
        "logits": torch.zeros(4, 3),
        "mean": torch.zeros(4, 3, 2),
        "scale": torch.ones(4, 3, 2),
        "target": torch.zeros(4, 2),
    }
    with pytest.raises(ValueError, match=f"expected argument '{argument}' to .* but got"):
        nll(**(given | change), validate_args=True)  # type: ignore[arg-type]


def test_other_errors() -> None:
    given = arguments((4,), 3, 2)
    with pytest.raises(NotImplementedError, match="'mean' to be a tensor of float32"):
        nll(given[0], given[1].long(), given[2], given[3])
    with pytest.raises(RuntimeError, match="'target' to be on the device of 'mean'"):
        nll(*given[:3], given[3].to("meta"))
    with pytest.raises(RuntimeError, match=r"[Ss]hape"):
        nll(given[0][:3], *given[1:])
    operator = torch.ops.activations_ext.mixture_nll
    with pytest.raises(RuntimeError, match="'target' to have the shape"):
        operator(*given[:3], given[3][:2], 0, 0.0)
    with pytest.raises(RuntimeError, match="the last two not 0"):
        operator(*(part[..., :0] for part in given), 0, 0.0)
    with pytest.raises(ValueError, match="'scale_by' to be from 0 to 3"):
        operator(*given, 4, 0.0)


def test_a_device_without_kernels_has_the_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, mean, scale = torch.randn(9, 3), torch.randn(9, 3, 2), torch.rand(9, 3, 2)
    parts = [part.requires_grad_() for part in (logits, mean, scale)]
    target = torch.randn(9, 2)

    def loss_and_gradients() -> list[Tensor]:
        loss = F.gaussian_mixture_nll_loss(*parts, target, scale_by="softplus")
        return [loss, *torch.autograd.grad(loss, parts)]

    ours = loss_and_gradients()
    monkeypatch.setattr(mixtures, "on_kernels_device", lambda device: False)
    for formula, kernel in zip(loss_and_gradients(), ours, strict=True):
        torch.testing.assert_close(formula, kernel)
