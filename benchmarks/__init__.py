"""How fast the engine is, beside what trio costs by hand: `python -m benchmarks`."""
