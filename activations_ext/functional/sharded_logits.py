"""DTensors whose classes are split over a mesh, logits or the weight that makes them: what each
rank computes of its share."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from activations_ext.functional.row_losses import Terms
from activations_ext.functional.row_statistics import Statistics
from activations_ext.functional.vocabulary_shards import Part, statistics_of_shards


class Shards(NamedTuple):
    """This rank's classes of a DTensor that all other dimensions of the mesh have copies of."""

    mesh: Any
    part: Part
    local: Tensor

    @classmethod
    def of(cls, tensor: Tensor, dim: int) -> Shards | None:
        """None of another tensor than such a DTensor, split along ``dim``."""
        if not dist.is_available():
            return None
        from torch.distributed.tensor import DTensor, Shard

        if not isinstance(tensor, DTensor):
            return None
        mesh, placements = tensor.device_mesh, tensor.placements
        split = [i for i, placement in enumerate(placements) if not placement.is_replicate()]
        if len(split) != 1 or placements[split[0]] != Shard(dim):
            return None
        over, classes = split[0], tensor.shape[dim]
        each = -(-classes // mesh.size(over))  # as torch.chunk splits them
        start = min(each * mesh.get_local_rank(over), classes)
        local = tensor.to_local()
        if local.shape[dim] != min(each, classes - start):
            return None
        group = mesh.get_group(over)
        return cls(mesh, Part(group, start, local.shape[dim], classes), local)

    def whole(self, value: Any) -> Any:
        """The plain tensor of a DTensor, which all ranks then have; anything else as it is."""
        from torch.distributed.tensor import DTensor, Replicate

        if not isinstance(value, DTensor):
            return value
        return value.redistribute(self.mesh, [Replicate()] * self.mesh.ndim).to_local()

    def replicated(self, value: Tensor) -> Tensor:
        """What all ranks have, as a DTensor again."""
        from torch.distributed.tensor import DTensor, Replicate

        everywhere = [Replicate()] * self.mesh.ndim
        return DTensor.from_local(value, self.mesh, everywhere, run_check=False)

    def statistics(
        self, target: Tensor, terms: Terms, softcap: float, logit_scale: float, expected: bool
    ) -> Statistics:
        return statistics_of_shards(
            self.part, self.local, target, terms, softcap, logit_scale, expected
        )


def linear_loss(
    parts: tuple[Tensor, Tensor, Tensor | None, Tensor, Tensor | None],
    loss_dtype: torch.dtype,
    memory_budget: int,
    options: dict[str, Any],
) -> Tensor | None:
    """``linear_cross_entropy`` of hidden states, weight, bias, target and class weights. None where
    the weight's classes are not split, or all logits are needed at once."""
    from torch.distributed.tensor import DTensor

    from activations_ext import distributed

    hidden, linear_weight, bias, target, weight = parts
    shards = Shards.of(linear_weight, 0)
    if shards is None or options["reduction"] == "none" or target.is_floating_point():
        return None
    if isinstance(hidden, DTensor) and not all(p.is_replicate() for p in hidden.placements):
        return None  # rows that are split stay so
    if hidden.dim() != 2 or linear_weight.dim() != 2:
        return None
    if isinstance(bias, DTensor):
        bias = bias.redistribute(shards.mesh, linear_weight.placements).to_local()  # type: ignore[attr-defined]
    elif bias is not None:
        bias = bias.narrow(0, shards.part.start, shards.part.own)
    loss = distributed.linear_cross_entropy(
        shards.whole(hidden),
        shards.local,
        shards.whole(target),
        linear_bias=bias,
        weight=shards.whole(weight),
        group=shards.part.group,
        vocab_start=shards.part.start,
        vocab_size=shards.part.classes,
        memory_budget=memory_budget,
        loss_dtype=loss_dtype,
        **{name: shards.whole(value) for name, value in options.items()},
    )
    return shards.replicated(loss)
