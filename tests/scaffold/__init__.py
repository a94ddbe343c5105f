"""A new author's way: from the built wheels, in a fresh environment, to a venue that trades."""
