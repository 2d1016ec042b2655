"""Formulas of SpikingJelly's surrogates, transcribed from the docstrings of the installed release.

``f`` is the derivative g' that the docstring of a surrogate gives, ``f_primal`` its primal g.  Where the docstring of a
``*_backward`` helper gives another formula than that of the class, it is ``f_as_helper_says``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = [
    "atan",
    "atan_primal",
    "erf",
    "erf_primal",
    "fake_numerical_gradient",
    "fake_numerical_gradient_as_helper_says",
    "heaviside",
    "identity",
    "leaky_k_relu",
    "leaky_k_relu_primal",
    "log_tailed_relu",
    "log_tailed_relu_primal",
    "multi_level",
    "multi_level_primal",
    "multi_level_spikes",
    "nonzero_sign_log_abs",
    "nonzero_sign_log_abs_primal",
    "piecewise_exp",
    "piecewise_exp_primal",
    "piecewise_leaky_relu",
    "piecewise_leaky_relu_primal",
    "piecewise_quadratic",
    "piecewise_quadratic_primal",
    "q_pseudo_spike",
    "q_pseudo_spike_primal",
    "rect",
    "rect_primal",
    "s2nn",
    "s2nn_primal",
    "sigmoid",
    "sigmoid_primal",
    "soft_sign",
    "soft_sign_as_helper_says",
    "soft_sign_primal",
    "squarewave_fourier_series",
    "squarewave_fourier_series_primal",
    "straight_through",
    "super_spike",
]


def piecewise_quadratic(x: Tensor, alpha: float) -> Tensor:
    return torch.where(x.abs() > 1 / alpha, 0.0, -(alpha**2) * x.abs() + alpha)


def piecewise_quadratic_primal(x: Tensor, alpha: float) -> Tensor:
    inner = -0.5 * alpha**2 * x.abs() * x + alpha * x + 0.5
    return torch.where(x < -1 / alpha, 0.0, torch.where(x > 1 / alpha, 1.0, inner))


def piecewise_exp(x: Tensor, alpha: float) -> Tensor:
    return alpha / 2 * torch.exp(-alpha * x.abs())


def piecewise_exp_primal(x: Tensor, alpha: float) -> Tensor:
    return torch.where(x < 0, 0.5 * torch.exp(alpha * x), 1 - 0.5 * torch.exp(-alpha * x))


def sigmoid(x: Tensor, alpha: float) -> Tensor:
    return alpha * (1 - torch.sigmoid(alpha * x)) * torch.sigmoid(alpha * x)


def sigmoid_primal(x: Tensor, alpha: float) -> Tensor:
    return torch.sigmoid(alpha * x)


def soft_sign(x: Tensor, alpha: float) -> Tensor:
    return alpha / (2 * (1 + (alpha * x).abs()) ** 2)


def soft_sign_primal(x: Tensor, alpha: float) -> Tensor:
    return 0.5 * (alpha * x / (1 + (alpha * x).abs()) + 1)


def soft_sign_as_helper_says(x: Tensor, alpha: float) -> Tensor:
    return 1 / (2 * alpha * (1 + (x / alpha).abs()) ** 2)


def super_spike(x: Tensor, alpha: float) -> Tensor:
    return alpha / (1 + x.abs()) ** 2


def atan(x: Tensor, alpha: float) -> Tensor:
    return alpha / (2 * (1 + (math.pi / 2 * alpha * x) ** 2))


def atan_primal(x: Tensor, alpha: float) -> Tensor:
    return torch.arctan(math.pi / 2 * alpha * x) / math.pi + 0.5


def nonzero_sign_log_abs(x: Tensor, alpha: float) -> Tensor:
    return alpha / (1 + (alpha * x).abs())


def nonzero_sign_log_abs_primal(x: Tensor, alpha: float) -> Tensor:
    return torch.where(x >= 0, 1.0, -1.0) * torch.log((alpha * x).abs() + 1)


def erf(x: Tensor, alpha: float) -> Tensor:
    return alpha / math.sqrt(math.pi) * torch.exp(-(alpha**2) * x**2)


def erf_primal(x: Tensor, alpha: float) -> Tensor:
    return 0.5 * (1 - torch.erf(-alpha * x))


def piecewise_leaky_relu(x: Tensor, w: float, c: float) -> Tensor:
    inside = ((-w <= x) & (x <= w)).to(x)
    return inside / (2 * w) + (1 - inside) * c


def piecewise_leaky_relu_primal(x: Tensor, w: float, c: float) -> Tensor:
    return torch.where(x < -w, c * x + c * w, torch.where(x > w, c * x - c * w + 1, x / (2 * w) + 0.5))


def squarewave_fourier_series(x: Tensor, n: int, T_period: float) -> Tensor:
    omega = 2 * math.pi / T_period
    return 2 / math.pi * sum((omega * torch.cos((2 * i - 1) * omega * x) for i in range(1, n)), torch.zeros_like(x))


def squarewave_fourier_series_primal(x: Tensor, n: int, T_period: float) -> Tensor:
    omega = 2 * math.pi / T_period
    terms = (torch.sin((2 * i - 1) * omega * x) / (2 * i - 1) for i in range(1, n))
    return 0.5 + 2 / math.pi * sum(terms, torch.zeros_like(x))


def s2nn(x: Tensor, alpha: float, beta: float) -> Tensor:
    left = alpha * (1 - torch.sigmoid(alpha * x)) * torch.sigmoid(alpha * x)
    return torch.where(x < 0, left, beta / (x.clamp(min=0) + 1))


def s2nn_primal(x: Tensor, alpha: float, beta: float) -> Tensor:
    return torch.where(x < 0, torch.sigmoid(alpha * x), beta * torch.log(x.clamp(min=0) + 1) + 1)


def q_pseudo_spike(x: Tensor, alpha: float) -> Tensor:
    return (1 + 2 * x.abs() / (alpha - 1)) ** -alpha


def q_pseudo_spike_primal(x: Tensor, alpha: float) -> Tensor:
    half = 0.5 * (1 + 2 * x.abs() / (alpha - 1)) ** (1 - alpha)
    return torch.where(x < 0, half, 1 - half)


def leaky_k_relu(x: Tensor, leak: float, k: float) -> Tensor:
    positive = (x >= 0).to(x)
    return positive * k + (1 - positive) * leak


def leaky_k_relu_primal(x: Tensor, leak: float, k: float) -> Tensor:
    return torch.where(x >= 0, k * x, leak * x)


def fake_numerical_gradient(x: Tensor, alpha: float) -> Tensor:
    return (1 / x.abs()).clamp(max=alpha)


def fake_numerical_gradient_as_helper_says(x: Tensor, alpha: float) -> Tensor:
    quotient = (2 - torch.sign(x)) / x
    return torch.where(quotient.abs() <= alpha, quotient, alpha * torch.sign(quotient))


def log_tailed_relu(x: Tensor, alpha: float) -> Tensor:
    return torch.where(x <= 0, alpha, torch.where(x <= 1, 1.0, 1 / x))


def log_tailed_relu_primal(x: Tensor, alpha: float) -> Tensor:
    return torch.where(x <= 0, alpha * x, torch.where(x <= 1, x, torch.log(x.clamp(min=1)) + 1))


def straight_through(x: Tensor) -> Tensor:
    return torch.ones_like(x)


def identity(x: Tensor) -> Tensor:
    return x


def multi_level(x: Tensor, max_spike_count: int) -> Tensor:
    return ((x >= 0) & (x <= max_spike_count)).to(x)


def multi_level_primal(x: Tensor, max_spike_count: int) -> Tensor:
    return x.clamp(0, max_spike_count)


def multi_level_spikes(x: Tensor, max_spike_count: int) -> Tensor:
    return torch.round(x.clamp(0, max_spike_count))


def rect(x: Tensor, alpha: float) -> Tensor:
    return alpha * (x.abs() < 0.5 / alpha).to(x)


def rect_primal(x: Tensor, alpha: float) -> Tensor:
    return (alpha * x + 0.5).clamp(0, 1)


def heaviside(x: Tensor, **_parameters: float) -> Tensor:
    return (x >= 0).to(x)
