"""A small package with text towers: words and pictures in one space of three colours, made up for the tests."""
