"""Training of the generalized leapfrog, flows and joint models: losses, optimiser, annealing, fits that resume bit for bit."""

from .checkpoints import Checkpoint, load_checkpoint, load_model, save_checkpoint, save_model
from .evaluation import Evaluation, evaluate
from .flow import FlowCheckpoint, FlowRecipe, fit_flow, flow_recipe_from, reverse_kl, start_flow
from .flow_files import load_flow, load_flow_checkpoint, save_flow, save_flow_checkpoint
from .flow_plans import FlowPlan, flow_plan
from .gradient import loss_and_gradient
from .joint import JointCheckpoint, JointRecipe, fit_joint, joint_columns, joint_loss, joint_recipe_from, start_joint
from .joint_evaluation import JointEvaluation, evaluate_joint
from .joint_files import load_joint, load_joint_checkpoint, save_joint, save_joint_checkpoint
from .joint_plans import JointPlan, joint_plan, settled
from .loop import Annealing, Recipe, TrainingError, fit, recipe_from, start
from .losses import LOSSES, METRICS, Term
from .optimise import Adam, Decline, Rate
from .plaquette_net import PlaquetteNet
from .variate import FitError, Neural, Trained, transferred

__all__ = [
    "LOSSES",
    "METRICS",
    "Adam",
    "Annealing",
    "Checkpoint",
    "Decline",
    "Evaluation",
    "FitError",
    "FlowCheckpoint",
    "FlowPlan",
    "FlowRecipe",
    "JointCheckpoint",
    "JointEvaluation",
    "JointPlan",
    "JointRecipe",
    "Neural",
    "PlaquetteNet",
    "Rate",
    "Recipe",
    "Term",
    "Trained",
    "TrainingError",
    "evaluate",
    "evaluate_joint",
    "fit",
    "fit_flow",
    "fit_joint",
    "flow_plan",
    "flow_recipe_from",
    "joint_columns",
    "joint_loss",
    "joint_plan",
    "joint_recipe_from",
    "load_checkpoint",
    "load_flow",
    "load_flow_checkpoint",
    "load_joint",
    "load_joint_checkpoint",
    "load_model",
    "loss_and_gradient",
    "recipe_from",
    "reverse_kl",
    "save_checkpoint",
    "save_flow",
    "save_flow_checkpoint",
    "save_joint",
    "save_joint_checkpoint",
    "save_model",
    "settled",
    "start",
    "start_flow",
    "start_joint",
    "transferred",
]
