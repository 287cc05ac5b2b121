"""Screens, one module each. Thin: fetch what the person may see, read the form, call the verb."""
