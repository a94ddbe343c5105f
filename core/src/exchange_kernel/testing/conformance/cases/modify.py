"""Cases of the group modify."""
