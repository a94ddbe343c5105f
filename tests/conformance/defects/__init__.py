"""Adapters with one mistake each, and the case that is meant to catch it."""
