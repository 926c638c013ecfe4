"""Optimizers, learning-rate schedules, and SWALP."""

from .optimizer import SGD, Adam, AdamW, Optimizer
from .scaler import LossScaler
from .schedules import constant_schedule, cosine_schedule, step_schedule, swalp_schedule
from .swalp import SWALP, update_bn

__all__ = [
    "SGD",
    "SWALP",
    "Adam",
    "AdamW",
    "LossScaler",
    "Optimizer",
    "constant_schedule",
    "cosine_schedule",
    "step_schedule",
    "swalp_schedule",
    "update_bn",
]
