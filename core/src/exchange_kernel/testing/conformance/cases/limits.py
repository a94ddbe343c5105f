"""Cases of the group limits."""
