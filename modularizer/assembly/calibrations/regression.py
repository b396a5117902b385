"""Logistic regression on a few features, by scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from modularizer.errors import CalibrationError

RIDGE = 0.01
"""Weight of the squared coefficients of standardised features against the summed loss: what keeps
them finite where the features tell the classes apart without an error."""


def log_odds(features: NDArray[Any], is_class: NDArray[np.bool_]) -> tuple[float, ...]:
    """The linear log-odds of a class that explain labels best.

    Args:
        features: float (N, F), finite; a constant one gets no weight.
        is_class: (N,).

    Returns:
        The constant, then a coefficient a feature.

    Raises:
        CalibrationError: if all images are of the class, or none is.
    """
    from sklearn.linear_model import LogisticRegression

    if is_class.all() or not is_class.any():
        raise CalibrationError(
            f"a fit needs images of the class and of others; found {int(is_class.sum())} and "
            f"{int((~is_class).sum())}"
        )
    given = features.astype(np.float64)
    mean, deviation = given.mean(axis=0), given.std(axis=0)
    deviation[deviation == 0] = 1.0
    model = LogisticRegression(C=1 / (2 * RIDGE), max_iter=1000, tol=1e-8)
    model.fit((given - mean) / deviation, is_class)
    coefficients = model.coef_[0] / deviation
    constant = float(model.intercept_[0] - coefficients @ mean)
    return constant, *(float(one) for one in coefficients)
