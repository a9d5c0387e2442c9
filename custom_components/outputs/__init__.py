"""Writers and report of a registration.

Its modules are imported by their own names: tidying up a pair's folder (``pair_folder``) needs none of MONAI,
Matplotlib and the inferers that the ``writer`` and ``report`` of a registration bring.
"""
