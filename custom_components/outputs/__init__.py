"""Writers and report of a registration.

Its modules are imported by their own names: writing a whole slide (``carry_slide``) needs none of MONAI, Matplotlib and
the inferers that the ``writer`` and ``report`` of a registration bring.
"""
