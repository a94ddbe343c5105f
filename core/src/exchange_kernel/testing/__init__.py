"""What the project's own tests and the authors of venue plugins share; nothing outside tests imports it."""
