"""Cases of the group restart."""
