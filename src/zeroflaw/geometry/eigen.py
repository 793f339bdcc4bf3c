"""Eigenvalues and smallest eigenvectors of many symmetric 3 × 3 matrices in closed form."""

from __future__ import annotations

import numpy as np

from zeroflaw.types import Float64

_THIRD_OF_TURN = 2.0 * np.pi / 3.0


def symmetric_eigenvalues(matrices: Float64) -> Float64:
    """Eigenvalues in ascending order, by the trigonometric formula.

    matrices: (6, N), rows xx, xy, xz, yy, yz, zz. Returns (3, N). Source: O. K. Smith,
    "Eigenvalues of a symmetric 3 × 3 matrix", Communications of the ACM 4 (1961).
    """
    xx, xy, xz, yy, yz, zz = matrices
    center = (xx + yy + zz) / 3.0
    a, b, c = xx - center, yy - center, zz - center
    spread = np.sqrt((a * a + b * b + c * c + 2.0 * (xy * xy + xz * xz + yz * yz)) / 6.0)
    safe = np.maximum(spread, np.finfo(np.float64).tiny ** 0.25)
    determinant = (
        a * (b * c - yz * yz) - xy * (xy * c - yz * xz) + xz * (xy * yz - b * xz)
    ) / safe**3
    angle = np.arccos(np.clip(0.5 * determinant, -1.0, 1.0)) / 3.0
    largest = center + 2.0 * spread * np.cos(angle)
    smallest = center + 2.0 * spread * np.cos(angle + _THIRD_OF_TURN)
    return np.stack([smallest, 3.0 * center - largest - smallest, largest])


def smallest_eigenvectors(matrices: Float64) -> tuple[Float64, Float64]:
    """Eigenvalues in ascending order and a unit eigenvector of the smallest.

    matrices: (6, N), rows xx, xy, xz, yy, yz, zz. Returns (3, N) and (3, N). The vector is the
    longest cross product of two rows of A − λI, and the smallest eigenvalue is then taken again as
    the vector's Rayleigh quotient, whose error is the square of the vector's. Where all three
    eigenvalues are equal the vector is (0, 0, 1).
    """
    values = symmetric_eigenvalues(matrices)
    xx, xy, xz, yy, yz, zz = matrices
    a, b, c = xx - values[0], yy - values[0], zz - values[0]
    best = np.stack([xy * yz - xz * b, xz * xy - a * yz, a * b - xy * xy])
    length = np.einsum("in,in->n", best, best)
    for other in (
        np.stack([xy * c - xz * yz, xz * xz - a * c, a * yz - xy * xz]),
        np.stack([b * c - yz * yz, yz * xz - xy * c, xy * yz - b * xz]),
    ):
        other_length = np.einsum("in,in->n", other, other)
        longer = other_length > length
        best[:, longer] = other[:, longer]
        length = np.maximum(length, other_length)
    scale = np.max(np.abs(matrices), axis=0)
    known = length > (1e-28 * scale**4)
    best[:, ~known] = np.array([[0.0], [0.0], [1.0]])
    best /= np.sqrt(np.where(known, length, 1.0))
    x, y, z = best
    quotient = xx * x * x + yy * y * y + zz * z * z + 2.0 * (xy * x * y + xz * x * z + yz * y * z)
    values[0] = np.maximum(quotient, 0.0)
    values[1:] = np.maximum(values[1:], values[0])
    return values, best
