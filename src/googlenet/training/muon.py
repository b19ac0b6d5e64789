"""Muon: momentum whose step is orthogonalised, for the matrices of convolutions; AdamW for everything else.

Jordan et al., *Muon: an optimizer for hidden layers in neural networks*, 2024. ``torch.optim.Muon`` takes matrices
alone, one by one; here convolutions are matrices too, and most of the work is done for many of them at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

MATRIX_LR = 10.0  # the learning rate of matrices, as a multiple of that of all other parameters
MOMENTUM = 0.95
STEPS = 3  # of Newton-Schulz
SIDE_STEP = 64  # Gram matrices are filled up to multiples of it: few sizes, large batches
COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of each, by Jordan et al.


class Muon(AdamW):
    """AdamW, but for groups with ``orthogonal``: their parameters (C_out, C_in, k, k) get orthogonalised steps.

    A matrix is (C_out, C_in · k · k). Its step is the Nesterov momentum of its gradient with all singular values
    brought close to 1, times √max(1, rows / columns) and ``MATRIX_LR`` times the learning rate. Weights decay by the
    plain learning rate, as AdamW's do.

    ::

        optimizer = Muon([{"params": convolutions, "orthogonal": True}, {"params": rest}], lr=0.002)
    """

    def __init__(self, params: Any, lr: float, weight_decay: float = 0.0) -> None:
        super().__init__(params, lr=lr, weight_decay=weight_decay, fused=True)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the state. AdamW's own looks for a count of steps in that of every parameter: matrices have none."""
        Optimizer.__setstate__(self, state)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Do one step with the gradients of all parameters, which it may change."""
        groups = self.param_groups
        loss = None
        self.param_groups = [group for group in groups if not group.get("orthogonal")]
        try:
            loss = super().step(closure)
        finally:
            self.param_groups = groups
        for group in groups:
            if group.get("orthogonal"):
                self._step_matrices(group)
        return loss

    def _step_matrices(self, group: dict[str, Any]) -> None:
        weights = [weight for weight in group["params"] if weight.grad is not None]
        if not weights:
            return
        gradients = [weight.grad for weight in weights]
        for weight in weights:
            if not self.state[weight]:
                self.state[weight]["momentum"] = torch.zeros_like(weight)
        momenta = [self.state[weight]["momentum"] for weight in weights]
        torch._foreach_lerp_(momenta, gradients, 1 - MOMENTUM)
        torch._foreach_lerp_(gradients, momenta, MOMENTUM)  # Nesterov
        torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
        for weight, step in zip(weights, orthogonalise([_matrix(each) for each in gradients]), strict=True):
            rows, columns = step.shape
            _matrix(weight).add_(step, alpha=-group["lr"] * MATRIX_LR * max(1.0, rows / columns) ** 0.5)


def _matrix(tensor: Tensor) -> Tensor:
    """(C_out, C_in, k, k), channels last in memory → a view of it (C_out, k · k · C_in)."""
    return tensor.permute(0, 2, 3, 1).flatten(1)


def orthogonalise(matrices: Sequence[Tensor]) -> list[Tensor]:
    """Bring the singular values of matrices (m, n) close to 1, by Newton-Schulz steps in bf16.

    The steps are those of the Gram matrix G = X Xᵀ of the shorter side: X becomes (a + b G + c G²) X in each, so that
    the long side is multiplied twice in all, not twice a step. Gram matrices of about one size are one batched product,
    filled up with zeros.

    >>> orthogonalise([torch.diag(torch.tensor([3.0, 1.0]))])[0].shape
    torch.Size([2, 2])
    """
    wide = [(matrix.mT if _is_tall(matrix) else matrix).bfloat16() for matrix in matrices]
    grams = [x @ x.mT for x in wide]
    by_side: dict[int, list[int]] = {}
    for number, gram in enumerate(grams):
        by_side.setdefault(-(-len(gram) // SIDE_STEP) * SIDE_STEP, []).append(number)
    for side, numbers in by_side.items():
        stack = grams[numbers[0]].new_zeros(len(numbers), side, side)
        for place, number in zip(stack, numbers, strict=True):
            place[: len(grams[number]), : len(grams[number])] = grams[number]
        for product, number in zip(_products(stack), numbers, strict=True):
            m = len(grams[number])
            wide[number] = product[:m, :m] @ wide[number]
    return [x.mT if _is_tall(matrix) else x for x, matrix in zip(wide, matrices, strict=True)]


def _is_tall(matrix: Tensor) -> bool:
    return matrix.shape[0] > matrix.shape[1]


def _products(grams: Tensor) -> Tensor:
    """Return (B, m, m): what to multiply each X by, whose X Xᵀ is given, for all steps together."""
    square = grams.diagonal(dim1=1, dim2=2).sum(1, dtype=torch.float32).clamp(min=1e-30)[:, None, None]  # |X|²
    gram = (grams / square).bfloat16()
    product = factor = _factor(gram)
    for _ in range(STEPS - 1):
        gram = factor @ (gram @ factor)
        factor = _factor(gram)
        product = factor @ product
    return (product * square.rsqrt()).bfloat16()


def _factor(gram: Tensor) -> Tensor:
    """Return a + b G + c G² of (B, m, m)."""
    a, b, c = COEFFICIENTS
    factor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
    factor.diagonal(dim1=1, dim2=2).add_(a)
    return factor


def matrices_of(network: nn.Module) -> Iterator[Tensor]:
    """Yield what is orthogonalised: the weights of all convolutions but depthwise ones."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.groups == 1:
            yield module.weight
