"""The module of ``shift_dropout``."""

from __future__ import annotations

from torch import Tensor

from activations_ext import functional as F
from activations_ext.functional.dropouts import SERLU_MINIMUM, check_probability
from activations_ext.nn.form import OwnModule


class ShiftDropout(OwnModule):
    """Dropout to an activation's least value: see ``activations_ext.functional.shift_dropout``.

    ``minimum`` is by default that of SERLU, which the layer was made for. After another activation
    give its own: −1 for ELU, 0 (then it is ordinary dropout) for ReLU.

    Example:
        >>> nn.ShiftDropout(0.1).eval()(torch.tensor([-2.0, 0.0, 3.0]))
        tensor([-2.,  0.,  3.])
    """

    def __init__(
        self, p: float = 0.5, minimum: float = SERLU_MINIMUM, inplace: bool = False
    ) -> None:
        super().__init__()
        check_probability(p)
        self.p = p
        self.minimum = minimum
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.shift_dropout(input, self.p, self.minimum, self.training, self.inplace)

    def extra_repr(self) -> str:
        return f"p={self.p}, minimum={self.minimum}, inplace={self.inplace}"
