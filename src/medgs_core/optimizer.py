"""Adam for rows: only the Gaussians that a step saw are moved, so a step costs the same however long the stack.

Packed parameters and a gradient for some rows come in; the same parameters, moved, stay.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from medgs_core.tensors import Rows

Matrix = Float[Tensor, "N columns"]

FIRST_DECAY, SECOND_DECAY = 0.9, 0.99
"""Memory of the mean and of the mean square of the gradient, in steps that saw the row."""

EPSILON = 1e-12
"""Keeps rows without gradient in place."""


@dataclass(frozen=True)
class RowAdam:
    """Adam (Kingma and Ba 2015) with one step count per row and one rate per column.

    Attributes
    ----------
    parameters : (N, columns) moved in place
    mean, square : (N, columns) running moments of the gradient
    seen : (N,) how often each row was moved
    """

    parameters: Matrix
    mean: Matrix
    square: Matrix
    seen: Float[Tensor, " N"]

    @staticmethod
    def start(parameters: Matrix) -> "RowAdam":
        """Return the optimizer of parameters that never moved."""
        zeros = torch.zeros_like(parameters)
        return RowAdam(parameters, zeros, zeros.clone(), zeros[:, 0].clone())

    @torch.no_grad()
    def move(self, rows: Rows, gradient: Matrix, rates: Float[Tensor, " columns"]) -> None:
        """Take one step for some rows.

        Parameters
        ----------
        rows : (rows,)
            Distinct indices.
        gradient : (rows, columns)
            Of the loss.
        rates : (columns,)
            Step per column.
        """
        seen = self.seen[rows] + 1.0
        mean = self.mean[rows].lerp_(gradient, 1.0 - FIRST_DECAY)
        square = self.square[rows].lerp_(gradient.square(), 1.0 - SECOND_DECAY)
        self.seen[rows] = seen
        self.mean[rows] = mean
        self.square[rows] = square
        first = 1.0 / (1.0 - FIRST_DECAY ** seen[:, None])
        second = 1.0 / (1.0 - SECOND_DECAY ** seen[:, None])
        self.parameters[rows] -= rates * (mean * first) / ((square * second).sqrt_() + EPSILON)

    def insert(self, at: int, parameters: Matrix) -> "RowAdam":
        """Return the optimizer with new rows, never moved, before row `at`."""
        new = RowAdam.start(parameters)
        return RowAdam(
            *(
                torch.cat([ours[:at], theirs, ours[at:]])
                for ours, theirs in (
                    (self.parameters, new.parameters),
                    (self.mean, new.mean),
                    (self.square, new.square),
                    (self.seen, new.seen),
                )
            )
        )
