"""What the runs of a plan can come to at most: visits, attempts and time."""

from __future__ import annotations

from engine.analysis.bounds.bounds import Bound, Bounds, Endless, NodeBound, bounds_of

__all__ = ["Bound", "Bounds", "Endless", "NodeBound", "bounds_of"]
