"""Compute upper bounds on the visits, attempts and time of a plan's runs."""

from __future__ import annotations

from engine.analysis.bounds.bounds import Bound, Bounds, NodeBound, UnboundedStep, compute_bounds

__all__ = ["Bound", "Bounds", "NodeBound", "UnboundedStep", "compute_bounds"]
