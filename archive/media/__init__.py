"""What strangers' files are, and small safe pictures of them. Everything that decodes runs in the sandbox.

Pure functions: no database, no models. See docs/media.md for limits, formats and recipes.
"""
