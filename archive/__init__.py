"""Ground floor: what is held and what happened to it. Knows nothing of models or bundles."""
