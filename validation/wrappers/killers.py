"""Which checks see which bug on the built-in targets: the knowledge behind what `refimpl mutants TARGET` advises.

Of every bug, on the built-in target that is its home, one check for each set of functions that is enough to see it.
"""

from __future__ import annotations

from typing import Any

# The built-in target, and its parameters.
HOMES: dict[str, tuple[str, dict[str, Any]]] = {
    "u1": ("u1", {"beta": 2.0, "shape": (4, 4), "step_size": 0.4, "n_steps": 4}),
    "phi4": ("phi4", {}),
    "variate": ("gauge_variate", {}),
    "schwinger": ("schwinger", {"shape": (4, 4)}),
    "l2hmc": ("l2hmc", {}),
    "flow": ("flow", {}),
    "joint": ("joint", {}),
    "pseudofermion": ("schwinger-pseudofermion", {}),
}

# What fails at level smoke, of every home.
AT_HOME: dict[str, dict[str, tuple[str, ...]]] = {
    "u1": {
        "ActionNormalisation": (
            "static.force_gradient",
            "static.action",
            "static.golden",
        ),
        "ActionSign": (
            "static.force_gradient",
            "static.action",
            "static.golden",
        ),
        "DroppedPlaquette": (
            "static.force_gradient",
            "static.action",
            "static.translation",
            "static.golden",
        ),
        "ActionOfHalfAngles": (
            "static.force_gradient",
            "static.gauge_invariance",
            "static.action",
            "static.golden",
        ),
        "SinglePrecision": (
            "static.force_gradient",
            "static.plaquette",
            "static.sine_charge",
            "static.force",
            "static.gauge_invariance",
            "static.action",
            "static.wilson_loop",
            "static.golden",
        ),
        "LastChainIsFirst": (
            "static.charge",
            "static.plaquette",
            "static.sine_charge",
            "static.action",
            "static.batch",
            "static.wilson_loop",
            "static.golden",
        ),
        "DoubledForce": (
            "static.force_gradient",
            "static.force",
            "static.golden",
        ),
        "HalvedForce": (
            "static.force_gradient",
            "static.force",
            "static.golden",
        ),
        "FlippedForce": (
            "static.force_gradient",
            "static.force",
            "static.golden",
        ),
        "ForceMissingOnBoundary": (
            "static.force_gradient",
            "static.force",
            "static.translation",
            "static.golden",
        ),
        "OneStaple": (
            "static.force_gradient",
            "static.force",
            "static.golden",
        ),
        "StaleForceCall": (
            "static.force",
            "static.gauge_invariance",
            "static.golden",
        ),
        "CoupledChains": (
            "static.force_gradient",
            "static.force",
            "static.gauge_invariance",
            "static.golden",
        ),
        "ExchangedAxes": (
            "static.charge",
            "static.golden",
        ),
        "TruncatedCharge": (
            "static.charge",
            "static.gauge_invariance",
            "static.golden",
        ),
        "UnsignedWrap": (
            "static.charge",
            "static.gauge_invariance",
            "static.golden",
        ),
        "UnwrappedCharge": (
            "static.charge",
            "static.golden",
        ),
        "RolledCharge": (
            "static.charge",
            "static.gauge_invariance",
            "static.golden",
        ),
        "SineChargeSign": (
            "static.sine_charge",
            "static.golden",
        ),
        "SineChargeNormalisation": (
            "static.sine_charge",
            "static.golden",
        ),
        "PlaquettePerLink": (
            "static.plaquette",
            "static.golden",
        ),
        "PlaquetteFourthDigit": (
            "static.plaquette",
            "static.golden",
        ),
        "TransposedLoop": ("static.wilson_loop",),
        "LoopOffByOne": ("static.wilson_loop",),
        "DoubledTau": ("static.tau_int",),
        "TauWithoutHalf": ("static.tau_int",),
        "LogdetConstant": ("maps.reversal",),
        "ScaledMomentum": (
            "maps.reversal",
            "transcript.reversible_proposal",
        ),
        "LeakingMask": (
            "maps.logdet_antisymmetry",
            "transcript.reversible_proposal",
        ),
        "NoiseInTheMap": (
            "maps.logdet_antisymmetry",
            "transcript.alone",
            "transcript.reversible_proposal",
            "transcript.same_map",
        ),
        "SinglePrecisionMap": (
            "maps.reversal",
            "transcript.reversible_proposal",
        ),
        "InverseIsForward": (
            "maps.round_trip",
            "transcript.reversible_proposal",
        ),
        "OtherStepSize": (
            "maps.round_trip",
            "transcript.same_map",
        ),
        "CoupledMap": (
            "maps.reversal",
            "transcript.same_map",
        ),
        "AlwaysAccepted": (
            "transcript.decision",
            "exact_start.schwinger_dyson",
        ),
        "NeverAccepted": ("transcript.decision",),
        "EnergiesExchanged": (
            "transcript.decision",
            "exact_start.moves",
        ),
        "HalfEnergy": (
            "transcript.decision",
            "exact_start.schwinger_dyson",
        ),
        "BatchDecision": (
            "transcript.decision",
            "transcript.alone",
            "exact_start.moves",
        ),
        "LonelyChain": ("transcript.alone",),
        "RejectedKept": (
            "transcript.next_state",
            "exact_start.schwinger_dyson",
        ),
        "PartlyAccepted": (
            "transcript.next_state",
            "exact_start.moves",
        ),
        "KineticOmitted": (
            "transcript.energy",
            "exact_start.schwinger_dyson",
        ),
        "MomentaRedrawnAfter": (
            "transcript.energy",
            "exact_start.schwinger_dyson",
        ),
        "MomentaRedrawnBefore": (
            "transcript.energy",
            "exact_start.schwinger_dyson",
        ),
        "MassTerm": (
            "transcript.energy",
            "exact_start.uniform_links",
        ),
        "HotMomenta": (
            "exact_start.plaquette_later",
            "transcript.momenta",
        ),
        "PushedMomenta": (
            "exact_start.drift",
            "transcript.momenta",
        ),
        "OneHotMomentum": ("transcript.momenta",),
        "CopiedMomentum": ("transcript.momenta",),
        "ZeroModeRemoved": (
            "driver.moves_every_link",
            "transcript.momenta",
        ),
        "NarrowUniforms": ("transcript.uniforms",),
        "OneUniform": (
            "exact_start.moves",
            "transcript.uniforms",
        ),
        "PairedUniforms": ("transcript.uniforms",),
        "StepSizeOfTheBatch": (
            "driver.others",
            "transcript.alone",
            "transcript.reversible_proposal",
            "transcript.same_map",
        ),
        "FirstHalfKickMissing": (
            "maps.reversal",
            "transcript.reversible_proposal",
            "exact_start.plaquette_later",
        ),
        "LastHalfKickMissing": (
            "maps.reversal",
            "transcript.reversible_proposal",
            "exact_start.plaquette_later",
        ),
        "FullEndKicks": ("maps.energy_scaling",),
        "StaleForce": (
            "maps.reversal",
            "transcript.reversible_proposal",
        ),
        "TrajectoryForce": ("maps.energy_scaling",),
        "CoupledTrajectories": (
            "maps.equivariance",
            "transcript.alone",
        ),
        "FrozenLink": (
            "maps.moves_every_link",
            "driver.moves_every_link",
            "transcript.reversible_proposal",
        ),
        "IgnoredSeed": (
            "driver.streams",
            "exact_start.drift",
            "transcript.uniforms",
        ),
        "FewSeeds": (
            "driver.seeds",
            "transcript.momenta",
        ),
        "UnseededNoise": (
            "transcript.same_step",
            "driver.resume",
            "driver.seeds",
        ),
        "SharedStream": (
            "driver.streams",
            "exact_start.drift",
            "transcript.uniforms",
        ),
        "PairedStreams": (
            "driver.streams",
            "transcript.uniforms",
        ),
        "RecurringStreams": (
            "driver.streams",
            "transcript.uniforms",
        ),
        "SeedPlusChain": ("driver.streams",),
        "FrozenComponent": (
            "transcript.next_state",
            "driver.moves_every_link",
        ),
        "StuckChains": ("transcript.next_state",),
        "BiasField": (
            "transcript.next_state",
            "driver.streams",
            "exact_start.drift",
        ),
        "PulledFields": (
            "transcript.next_state",
            "driver.streams",
            "exact_start.uniform_links",
        ),
        "CoupledUpdates": (
            "driver.others",
            "transcript.next_state",
        ),
        "SinglePrecisionFields": (
            "transcript.next_state",
            "driver.streams",
            "exact_start.moves",
        ),
        "RejectedRedrawn": (
            "exact_start.schwinger_dyson",
            "transcript.uniforms",
        ),
        "RejectionsDropped": (
            "driver.outputs",
            "driver.resume",
            "driver.moves_every_link",
            "driver.streams",
        ),
        "OneTooFew": (
            "driver.others",
            "driver.outputs",
            "driver.resume",
            "driver.moves_every_link",
        ),
        "StartReported": ("exact_start.moves",),
        "RestartedStreams": ("driver.resume",),
        "ForgetfulResume": ("driver.resume",),
        "CouplingLeak": (
            "transcript.energy",
            "transcript.reversible_proposal",
            "transcript.same_map",
        ),
    },
    "phi4": {
        "CorrelatorOffByOne": (
            "scalars.correlator",
            "scalars.golden",
        ),
        "SpatialCorrelator": (
            "scalars.correlator",
            "scalars.golden",
        ),
        "ConnectedCorrelator": (
            "scalars.correlator",
            "scalars.golden",
        ),
        "AbsoluteMoment": (
            "static.conjugation",
            "scalars.field_moment",
            "scalars.golden",
        ),
        "MomentOfTheMean": (
            "scalars.field_moment",
            "scalars.golden",
        ),
    },
    "variate": {
        "DivergenceHalved": (
            "variates.divergence",
            "variates.mean_zero",
        ),
        "ConstantOffset": (
            "variates.divergence",
            "variates.mean_zero",
        ),
        "VariateTwice": ("variates.divergence",),
        "VariateSign": (
            "variates.divergence",
            "variates.improvement",
        ),
        "CentredInTheBatch": (
            "variates.batch",
            "variates.divergence",
        ),
        "FieldOfOtherSign": ("variates.divergence",),
    },
    "schwinger": {
        "PeriodicFermions": (
            "pseudofermions.determinant",
            "fermions.apply",
            "fermions.free_determinant",
            "fermions.dense",
            "pseudofermions.force",
            "fermions.golden",
        ),
        "PeriodicApply": (
            "fermions.apply",
            "fermions.golden",
        ),
        "AdjointOperator": (
            "fermions.dense",
            "fermions.golden",
        ),
        "OtherGammas": (
            "fermions.dense",
            "fermions.golden",
        ),
        "SquaredLogdet": (
            "fermions.free_determinant",
            "fermions.golden",
        ),
        "LogdetDiracSign": (
            "fermions.free_determinant",
            "fermions.golden",
        ),
        "PseudofermionForceWithoutTwo": (
            "pseudofermions.force",
            "fermions.golden",
        ),
        "PseudofermionForceSign": (
            "pseudofermions.force",
            "fermions.golden",
        ),
        "PseudofermionNormalisation": (
            "pseudofermions.determinant",
            "fermions.golden",
        ),
        "RealVariance": ("pseudofermions.heat_bath",),
        "HeatBathScaled": ("pseudofermions.heat_bath",),
        "RealNoise": ("pseudofermions.heat_bath",),
        "StaleNoise": ("pseudofermions.heat_bath",),
        "EstimateOfOneFlavour": ("estimates.determinant",),
        "EstimatesWithoutSeed": ("estimates.determinant",),
        "EveryEstimateTwice": ("estimates.determinant",),
    },
    "l2hmc": {
        "LogdetForgotten": (
            "maps.jacobian",
            "exact_start.creutz",
        ),
        "LogdetSignBothWays": (
            "maps.jacobian",
            "exact_start.creutz",
        ),
        "LogdetHalved": ("maps.jacobian",),
        "LogdetLayerLost": ("maps.jacobian",),
        "ForwardLogdet": ("maps.logdet_antisymmetry",),
        "LogdetNotUsed": ("transcript.decision",),
        "LogdetSubtracted": ("transcript.decision",),
        "DirectionNeverFlips": ("transcript.direction",),
        "DirectionOfTheBatch": ("transcript.direction",),
        "BackwardByFlip": ("maps.round_trip",),
    },
    "flow": {
        "LogdetOfOtherSign": ("flows.jacobian",),
        "LogdetOfInverseNotNegated": (
            "flows.logdet_antisymmetry",
            "flows.jacobian",
        ),
        "LogdetTenthLost": ("flows.jacobian",),
        "SampleConstant": (
            "flows.sample_log_prob",
            "flows.density",
        ),
        "ConstantForgotten": (
            "flows.density",
            "flow_weights.bridge",
        ),
        "LogProbConstant": (
            "flows.sample_log_prob",
            "flows.density",
        ),
        "PriorConstant": ("flows.prior",),
        "OneStreamForAll": ("flows.samples",),
        "SamplesWithoutSeed": ("flows.samples",),
        "InverseIsTheFlow": ("flows.round_trip",),
        "ComponentLeftOut": (
            "flows.moves_every_link",
            "flows.round_trip",
        ),
        "BiasOfAPlace": (
            "flows.round_trip",
            "flows.equivariance",
        ),
        "MapInSinglePrecision": (
            "flows.round_trip",
            "flows.sample_log_prob",
        ),
    },
    "joint": {
        "ComplexCountedOnce": ("conditional.jacobian",),
        "LogdetOfTheOtherDirection": ("conditional.round_trip",),
        "ConditionalConstant": (
            "conditional.density",
            "conditional.normalised",
        ),
        "DensityOfTheNeighbour": ("conditional.sample_log_prob",),
        "SlightlyWide": (
            "conditional.sample_log_prob",
            "conditional_samples.law",
        ),
        "SeedForgotten": ("conditional_samples.law",),
        "LinksForgotten": ("joint.parts",),
        "JointSeedForgotten": ("joint.seeds",),
        "EstimateRefreshed": ("pseudomarginal.decision",),
        "RatioTurned": ("pseudomarginal.decision",),
        "EveryEstimateAccepted": ("pseudomarginal.decision",),
        "BatchDecides": ("pseudomarginal.decision",),
        "SumOfDraws": ("pseudomarginal.proposals",),
        "EstimateOfTheRejected": ("pseudomarginal.kept",),
        "EstimateLeftBehind": ("pseudomarginal.kept",),
        "EstimateInSinglePrecision": ("pseudomarginal.kept",),
        "StartWithoutSeed": ("pseudomarginal.starts",),
        "StartTooSmall": ("pseudomarginal.starts",),
    },
    "pseudofermion": {
        "LargeFields": ("transcript.pseudofermions",),
        "NotRefreshed": ("transcript.pseudofermions",),
    },
}

# What takes more samples.
AT_STANDARD: dict[str, tuple[str, ...]] = {"EstimateOffOnePercent": ("estimates.determinant",)}

KILLERS: dict[str, dict[str, str]] = {
    bug: dict.fromkeys(checks, level)
    for level, known in [*(("smoke", home) for home in AT_HOME.values()), ("standard", AT_STANDARD)]
    for bug, checks in known.items()
}
