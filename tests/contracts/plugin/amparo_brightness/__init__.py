"""A small package that offers an analyser: the tests' plug-in, and an example to copy."""
