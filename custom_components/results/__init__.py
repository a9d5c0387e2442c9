"""Results read again: the one reader of what a registration writes (docs/outputs.md).

Its modules are imported by their own names: ``record``, metrics.json alone, needs nothing but the standard library;
``stored``, a pair's folder opened, brings the fields, images and annotations.
"""
