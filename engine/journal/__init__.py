"""What is kept of runs: a store of their events, and who may write them."""
