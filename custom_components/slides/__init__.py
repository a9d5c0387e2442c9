"""Whole slides written: warped block by block through a field into pyramids, in memory that does not grow with them.

Its modules are imported by their own names, so that a command loads no more than it needs. How slides are read is in
``custom_components.pairs.slides``.
"""
