"""The smallest configuration on which a failure is seen again, as a vector that anybody can repeat."""

from .evidence import NO_HYPOTHESIS, explained, with_evidence

__all__ = ["NO_HYPOTHESIS", "explained", "with_evidence"]
