"""Adapters and plain implementations in other frameworks. Each needs its own package, imported where it is used."""
