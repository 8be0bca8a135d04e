"""The trio runtime: runs plans. It sees the Plan, never Spec or rules."""
