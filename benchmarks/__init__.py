"""Measurements of the budgets: scripts that print tables, run by hand, never as tests."""
