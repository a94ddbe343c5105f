"""MyVenue for Exchange Kernel. Its entry point is :mod:`.plugin`; nothing else is imported before it is used."""
