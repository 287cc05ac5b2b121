"""Screens of this floor."""
