"""Optimizers, learning-rate schedules, and SWALP."""

from .adam import Adam, AdamW
from .flat import Flat, states8
from .optimizer import Optimizer
from .rmsprop import RMSprop
from .scaler import LossScaler
from .schedules import constant_schedule, cosine_schedule, step_schedule, swalp_schedule
from .sgd import SGD
from .swalp import SWALP, update_bn

__all__ = [
    "SGD",
    "SWALP",
    "Adam",
    "AdamW",
    "Flat",
    "LossScaler",
    "Optimizer",
    "RMSprop",
    "constant_schedule",
    "cosine_schedule",
    "states8",
    "step_schedule",
    "swalp_schedule",
    "update_bn",
]
