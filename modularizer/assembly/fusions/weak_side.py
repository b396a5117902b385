"""What a weak model's logits say, of the classes that are not patched and of one that is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Self

from pydantic import Field
from torch import Tensor

from modularizer.assembly.calibrations.stored import PositiveFloat, Stored


class WeakSide(Stored):
    """How much of a weak model's belief is left where a class is patched.

    Attributes:
        temperature: its logits are divided by it before the softmax; 1 leaves them.
        renormalise: whether a patched class is left out of the softmax, so that what the weak
            model believed of it counts for nothing; otherwise it makes the others smaller.
    """

    temperature: Annotated[PositiveFloat, Field(le=1e6)] = 1.0
    renormalise: bool = False

    def for_patches(self, chosen: Sequence[int]) -> Self:
        """The same rule where only some of the patches are plugged in.

        Args:
            chosen: their places in patch order.
        """
        return self

    def logits(self, weak_logits: Tensor, patched: Sequence[int]) -> Tensor:
        """Logits whose softmax is the weak side: (N, classes), of the same shape and dtype.

        Args:
            weak_logits: (N, classes).
            patched: columns of classes that are patched.
        """
        scaled = weak_logits if self.temperature == 1 else weak_logits / self.temperature
        if not self.renormalise:
            return scaled
        scaled = scaled.clone()
        scaled[:, list(patched)] = -float("inf")
        return scaled


def weak_log_odds(weak_logits: Tensor, column: int) -> Tensor:
    """The weak model's own log-odds of a class against all its others.

    Args:
        weak_logits: (N, classes), at least two classes.
        column: the class.

    Returns:
        (N,): log(p / (1 - p)) of its softmax p, without losing digits where p is near 1.
    """
    others = weak_logits.clone()
    others[:, column] = -float("inf")
    return weak_logits[:, column] - others.logsumexp(dim=1)
