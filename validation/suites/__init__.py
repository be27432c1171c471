"""Modules that make golden vectors, but for those of fields and of exact values; none shares code with what it judges."""
