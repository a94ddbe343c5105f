"""Cases of the group events."""
