"""Render diagnostics, plans and results, as text for people and as data for programs."""
