"""Gradients through bits: configuration, estimators, their exact oracle and their regression.

Every estimator answers one question: the gradient of ``E[f(z)]`` over independent bits, with respect to their
log-odds; each says what its mean is and whether that is the gradient asked for.
"""

from __future__ import annotations

from bitprop.training.sc_estimators._estimator import ESTIMATORS, AbstractEstimator, Loss, make_estimator
from bitprop.training.sc_estimators.arm import Arm
from bitprop.training.sc_estimators.config import DifferentiableSCConfig
from bitprop.training.sc_estimators.disarm import Disarm
from bitprop.training.sc_estimators.enumeration import (
    MAX_BITS,
    bit_patterns,
    exact_expectation,
    exact_gradient,
    pattern_probabilities,
)
from bitprop.training.sc_estimators.gumbel import Gumbel
from bitprop.training.sc_estimators.leave_one_out import LeaveOneOut
from bitprop.training.sc_estimators.pathwise_relaxation import PathwiseRelaxation
from bitprop.training.sc_estimators.rebar import Rebar
from bitprop.training.sc_estimators.regression import estimator_regression
from bitprop.training.sc_estimators.score_function import ScoreFunction
from bitprop.training.sc_estimators.straight_through import StraightThrough
from bitprop.training.sc_estimators.stream_loss import StreamProductLoss

__all__ = [
    "ESTIMATORS",
    "MAX_BITS",
    "AbstractEstimator",
    "Arm",
    "DifferentiableSCConfig",
    "Disarm",
    "Gumbel",
    "LeaveOneOut",
    "Loss",
    "PathwiseRelaxation",
    "Rebar",
    "ScoreFunction",
    "StraightThrough",
    "StreamProductLoss",
    "bit_patterns",
    "estimator_regression",
    "exact_expectation",
    "exact_gradient",
    "make_estimator",
    "pattern_probabilities",
]
