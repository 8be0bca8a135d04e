"""Stored runs: their events, and the leases that decide which process may write them."""
