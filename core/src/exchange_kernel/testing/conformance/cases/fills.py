"""Cases of the group fills."""
