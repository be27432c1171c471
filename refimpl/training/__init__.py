"""Training of the generalized leapfrog: losses, optimiser, annealing, and fits that resume bit for bit."""

from .checkpoints import Checkpoint, load_checkpoint, load_model, save_checkpoint, save_model
from .gradient import loss_and_gradient
from .loop import Annealing, Recipe, TrainingError, fit, recipe_from, start
from .losses import LOSSES, METRICS, Term
from .optimise import Adam, Rate
from .plaquette_net import PlaquetteNet

__all__ = [
    "LOSSES",
    "METRICS",
    "Adam",
    "Annealing",
    "Checkpoint",
    "PlaquetteNet",
    "Rate",
    "Recipe",
    "Term",
    "TrainingError",
    "fit",
    "load_checkpoint",
    "load_model",
    "loss_and_gradient",
    "recipe_from",
    "save_checkpoint",
    "save_model",
    "start",
]
