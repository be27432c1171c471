"""Which vector has which public function of the package, and honestly which function has none, and why."""

import importlib
import inspect
import pkgutil

import pytest

from refimpl import actions, estimators, kernels, maps, observables
from refimpl.estimators import conditional, reweighting, variates
from refimpl.estimators.variates import u1
from refimpl.validation import vectors

DRAWS = "none: it draws, its distribution is tested; what it does with given noise has a vector"
TYPE = "none: a type or protocol without numbers of its own"
PARTS = "none: bound to the arrays of one trajectory, seen in the suites leapfrog and updates"
FIT = "none: a fit, whose result is no simple function; what it makes of given parameters has a vector"
TRACED = "none: a formula for autograd, compared with the function itself by tests"
INSIDE = "none: part of layers that have vectors in flows, l2hmc, conditionals or layers"
SELECT = "none: selects or names, no number comes out"

# Names of calls, pieces and integrators, or a reason why there are none.
COVERED = {
    "actions": {
        **dict.fromkeys(("Action", "Dynamics", "SmoothAction", "SolverError", "Hopping", "Unhalved"), TYPE),
        **dict.fromkeys(("DeterminantDynamics", "NormalDynamics", "O2Dynamics", "Phi4Dynamics", "SUNDynamics"), PARTS),
        **dict.fromkeys(("PseudofermionDynamics", "ScaledDynamics", "SumDynamics", "U1Dynamics"), PARTS),
        **dict.fromkeys(("Gaussian", "Mixture", "O2Chain", "Phi4", "WilsonSUN", "WilsonU1"), "force"),
        **dict.fromkeys(("two_gaussians", "Sum", "WilsonDeterminant"), "force"),
        **dict.fromkeys(("phi4_action_definition", "phi4_force_definition", "u1_action_definition"), TRACED),
        **dict.fromkeys(("u1_force_definition", "sun_action_definition", "sun_force_definition"), TRACED),
        **dict.fromkeys(("FixedPseudofermion", "hasenbusch"), "pseudofermion_force"),
        **dict.fromkeys(("Scaled", "scaled"), "none: another action times a number"),
        "Pseudofermion": "dirac.heat_bath",
        "WilsonDirac": "dirac.adjoint",
        "wilson_dirac": "dirac.apply",
        "gamma5": "dirac.gamma5",
        "solve": "dirac.solve",
        "log_determinant": "logdet_dirac",
        "link_response": "none: part of the determinant's force, which has vectors",
        "determinant_of": SELECT,
        "to_hopping": "actions.to_hopping",
        "from_hopping": "actions.from_hopping",
        "to_unhalved": "actions.to_unhalved",
        "from_unhalved": "actions.from_unhalved",
        "from_quartic": "actions.from_quartic",
    },
    "observables": {
        **dict.fromkeys(("EffectiveMass", "Quantiles", "Quantity"), TYPE),
        **dict.fromkeys(("quantity", "monomial_masses"), SELECT),
        "Correlator": "correlator",
        "FieldMoment": "field_moment",
        "Plaquette": "plaquette",
        "WilsonLoop": "wilson_loop",
        "charge": "charge",
        "charge_susceptibility": "observables.charge_susceptibility",
        "chiral_condensate": "dirac.chiral_condensate",
        "chiral_condensate_estimate": "none: it draws; the condensate itself has a vector",
        "condition_numbers": "dirac.condition_numbers",
        "effective_mass": "observables.effective_mass_early",
        "effective_mass_estimate": "observables.effective_mass_estimate",
        "eigenvalues": "dirac.eigenvalues",
        "extreme_eigenvalues": "observables.extreme_eigenvalues",
        "hasenbusch_spectra": "observables.hasenbusch_spectra",
        "mean_plaquette": "plaquette",
        "monomial_eigenvalues": "observables.monomial_eigenvalues",
        "plaquette_and_charges": "sine_charge",
        "polyakov_loop": "observables.polyakov_loop",
        "pseudoscalar_correlator": "dirac.pseudoscalar_correlator",
        "quantiles": "observables.quantiles",
        "sine_charge": "sine_charge",
        "tunnelling_rate": "observables.tunnelling_rate",
        "wilson_loop": "wilson_loop",
    },
    "estimators": {
        **dict.fromkeys(("Conditions", "Quadrature"), TYPE),
        "averaged_log_weight": "estimators.determinant.averaged_log_weight",
        "best_scale": "estimators.determinant.best_scales",
        "best_scales": "estimators.determinant.best_scales",
        "determinant_estimate": "estimators.estimate_of_noise",
        "finite_moment": "estimators.determinant.finite_moment",
        "gaussian_log_weights": "estimators.gaussian_log_weights",
        "lanczos_quadrature": "estimators.lanczos_bounds",
        "log_determinant_estimate": "estimators.log_estimate_of_noise",
        "log_mean": "estimators.determinant.log_mean",
        "log_moment": "estimators.determinant.log_moment",
        "log_variance": "estimators.determinant.log_variance",
        "monomial_forms": "estimators.monomial_forms",
        "relative_variance": "estimators.determinant.relative_variance",
        "relative_variance_of_average": "estimators.determinant.relative_variance_of_average",
    },
    "kernels": {
        **dict.fromkeys(("DeterminantEstimator", "Info", "Kernel", "Level", "Proposal", "Proposer", "State"), TYPE),
        **dict.fromkeys(("blocks", "check_rngs", "initial_state", "spawn_rngs", "accept_reject"), SELECT),
        "HMC": "transition",
        "metropolis": "transition",
        "Cycle": "none: other kernels one after the other",
        "FieldTransformationHMC": "none: HMC of an action pulled back, whose force has vectors in layers",
        "FluxHeatBath": "kernels.flux_heat_bath",
        "FourierHMC": "kernels.fourier",
        "IndependenceMetropolis": "kernels.independence",
        "JointDeterminant": "kernels.joint_determinant",
        "NestedHMC": "kernels.nested",
        "OrbitHeatBath": "kernels.orbit_heat_bath",
        "OrbitMetropolis": "kernels.orbit_metropolis",
        "OrbitPool": "kernels.orbit_pool",
        "PseudomarginalMetropolis": "kernels.pseudomarginal",
        "PureGauge": DRAWS,
        "Winding": "kernels.winding",
        "matched_beta": "kernels.matched_beta",
        "wind": "kernels.wind",
    },
    "maps": {
        **dict.fromkeys(("Chain", "Integrator", "Inverse", "Layer", "Map", "PhasePoint", "INTEGRATORS"), TYPE),
        **dict.fromkeys(("LEAPFROG", "MolecularDynamics", "trajectory"), "forward"),
        **dict.fromkeys(("OMELYAN", "OMELYAN_LAMBDA"), "omelyan"),
    },
    "variates": {
        **dict.fromkeys(("Factorised", "FreeField", "Linear", "TwoStage", "cross_fit", "was_fitted_to"), FIT),
        **dict.fromkeys(("save", "load"), SELECT),
        **dict.fromkeys(("Improvement", "u1"), TYPE),
        "FactorisedVariate": "variates.factorised",
        "FreeFieldVariate": "variates.free_field",
        "LinearVariate": "variates.linear",
        "TwoStageVariate": "variates.two_stage",
        "joint_values": "variates.two_stage",
        "NeuralVariate": "variates.neural",
        "improve": "none: errors of series, in suite statistics",
    },
}
MODULES = {"actions": actions, "observables": observables, "estimators": estimators, "kernels": kernels, "maps": maps}
MODULES["variates"] = variates

# Classes of modules that are not named in an ``__all__``.
CLASSES = {
    "maps.coupling": {"AffineCoupling": "maps.odd_affine.forward"},
    "maps.decimation": {"Cut": TYPE, "Decimation": "maps.decimation.forward"},
    "maps.holonomy": {"Angles": TYPE, "Holonomy": "maps.holonomy.forward"},
    "maps.l2hmc": {"End": TYPE, "GeneralizedLeapfrog": "map_with_weights"},
    "maps.plaquette_coupling": {"Context": TYPE, "PlaquetteCoupling": "flow_with_weights"},
    "maps.plaquette_sums": {"Grids": TYPE, "Part": "maps.decimation.inverse"},
    "maps.projections": {"ProjectionMixture": "maps.projections.forward"},
    "maps.pseudofermion_layer": {
        **dict.fromkeys(("Given", "GivenCotangent", "Partition"), TYPE),
        "PseudofermionLayer": "conditional_with_weights",
    },
    "maps.ptcn": {"Ptc": "maps.ptcn", "Network": "maps.ptcn"},
    "maps.pulled_back": {"PulledBack": "maps.holonomy.pulled_back", "PulledBackDynamics": PARTS},
    "maps.spectral": {
        **dict.fromkeys(("Box", "Cell", "Move"), TYPE),
        "SpectralKernel": "maps.spectral.forward",
    },
    "maps.splines": {
        **dict.fromkeys(("Piece", "RationalSpline", "Bins"), TYPE),
        "CircularSpline": "maps.circular_spline.forward",
        "IntervalSpline": "maps.interval_spline.forward",
    },
    "maps.sun_coupling": {"Context": TYPE, "SpectralCoupling": "flow_with_weights"},
    "maps.stripes": {"Masks": TYPE},
    "maps.transport": {"Transport": "maps.transported"},
    "maps.context": {"Context": INSIDE},
    "maps.affine": {"Numbers": TYPE, "Steps": INSIDE},
    "maps.architecture": {"NetWeights": TYPE, "Architecture": INSIDE, "Angles": TYPE},
    "maps.frames": {"Frame": INSIDE},
    "maps.md": {"Integrator": TYPE, "MolecularDynamics": "forward"},
    "maps.base": {"Chain": TYPE, "Inverse": TYPE, "Layer": TYPE, "Map": TYPE},
    "estimators.variates.u1.open_boundary": {
        "OpenWilsonLoop": "variates.open_loop",
        "OpenBoundary": "variates.open_boundary",
        "OpenVariate": "variates.open_field",
    },
    "estimators.variates.u1.conditional": {
        "ConditionalMean": "variates.conditional_mean",
        "ConditionalMeanVariate": "variates.conditional_mean",
        "GroupMean": "variates.conditional_mean",
    },
    "estimators.variates.u1.factorised": {
        "PlaquetteGroups": FIT,
        "FitRows": FIT,
        "GroupVariate": "variates.plaquette_groups",
    },
    "estimators.variates.u1.neural": {"PlaquetteNetVariate": "variates.plaquette_net"},
}

FUNCTIONS = {
    conditional: {
        "kl": "estimators.conditional.kl",
        "relative_variance": "estimators.conditional.relative_variance",
        "inflated": "estimators.conditional.inflated",
        "single_log_weight": "estimators.conditional.single_log_weight",
        "product_law": "estimators.conditional.product_law",
        "linear_law": "estimators.conditional.linear_law",
        "log_variance": "estimators.conditional.log_variance",
        "log_moment": "estimators.conditional.log_moment",
        "finite_moment": "estimators.conditional.finite_moment",
        "log_weights": DRAWS,
        "best_inflation": "estimators.conditional.best_inflation",
        "field_inflation": "estimators.conditional.field_inflation",
        "smallest_inflation": "estimators.conditional.smallest_inflation",
        "weight_matrix": "estimators.conditional.weight_matrix",
        "weight_eigenvalues": "estimators.conditional.weight_eigenvalues",
        "smallest_curvature": "estimators.conditional.smallest_curvature",
        "log_kernel_determinant": "estimators.conditional.log_kernel_determinant",
        "field_log_weight": "estimators.conditional.field_log_weight",
        **dict.fromkeys(("kept_fields", "draw_counts"), SELECT),
    },
    reweighting: {
        "relative_ess": "estimators.reweighting.relative_ess",
        "log_partition": "estimators.reweighting.log_partition",
        "reweighted_mean": "estimators.reweighting.reweighted_mean",
        "largest_share": "estimators.reweighting.largest_share",
        "pooled_ess": "estimators.reweighting.pooled_ess",
        "pareto_shape": "estimators.reweighting.pareto_shape",
    },
}


@pytest.fixture(scope="module")
def told():
    """Names of all calls and pieces, and of integrators that calls are of."""
    every = [vector for suite in vectors.SUITES for vector in vectors.read_suite(suite)]
    pieces = {entry["piece"] for vector in every for entry in vector.about.get("pieces", ())}
    pieces |= {vector.about.get("declares", {}).get("integrator") for vector in every}
    return pieces | {c["function"] for vector in every for c in vector.about["calls"] if "function" in c}


def check(names, table, told):
    assert not set(names) - set(table), f"public, and not in this table: {sorted(set(names) - set(table))}"
    for name in names:
        entry = table[name]
        assert entry in told or (entry.startswith("none") and len(entry) > 20), (name, entry)


@pytest.mark.parametrize("package", MODULES)
def test_every_public_name_has_a_vector_or_a_reason(package, told):
    assert set(COVERED[package]) <= set(MODULES[package].__all__), "names that are gone"
    check(MODULES[package].__all__, COVERED[package], told)


@pytest.mark.parametrize("module", FUNCTIONS, ids=lambda module: module.__name__)
def test_every_function_of_an_estimator_has_a_vector_or_a_reason(module, told):
    functions = inspect.getmembers(module, lambda f: inspect.isfunction(f) and f.__module__ == module.__name__)
    check([name for name, _ in functions if not name.startswith("_")], FUNCTIONS[module], told)


def test_every_map_and_variate_of_u1_has_a_vector_or_a_reason(told):
    found = {"maps." + each.name: f"refimpl.maps.{each.name}" for each in pkgutil.iter_modules(maps.__path__)}
    names = (each.name for each in pkgutil.iter_modules(u1.__path__))
    found |= {f"estimators.variates.u1.{name}": f"{u1.__name__}.{name}" for name in names}
    for key, path in found.items():
        module = importlib.import_module(path)
        classes = inspect.getmembers(module, lambda c, path=path: inspect.isclass(c) and c.__module__ == path)
        names = [name for name, _ in classes if not name.startswith("_")]
        if key not in CLASSES and key in ("estimators.variates.u1.algebra", "estimators.variates.u1.groups"):
            continue  # the terms and groups that the variates are made of
        check(names, CLASSES.get(key, {}), told)
        assert set(CLASSES.get(key, {})) <= set(names), (key, "names that are gone")
