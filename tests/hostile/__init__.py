"""Hostile strings through every renderer."""
