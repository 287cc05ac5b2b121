"""First floor: stands on archive."""
