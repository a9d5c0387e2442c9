"""Pair tables of public sets and of one's own images.

python -m custom_components.image_sets phc_u373 --source PhC-C2DH-U373 --to data/phc
python -m custom_components.image_sets folder --images slices --labels masks --reach 2 --to pairs.csv
"""

from __future__ import annotations

import sys

import fire

from custom_components.errors import InputError
from custom_components.image_sets.brains import brain_labels, brain_mri, brain_oasis, brain_slabs
from custom_components.image_sets.cardiac import cardiac_sunnybrook
from custom_components.image_sets.digits import digits
from custom_components.image_sets.folder import folder
from custom_components.image_sets.known_warps import known_warps
from custom_components.image_sets.microscopy import membrane, phc_u373, platelet_em
from custom_components.stopping import stopped_by_signals

if __name__ == "__main__":
    try:
        brains = (brain_slabs, brain_labels, brain_oasis, brain_mri)
        sets = (folder, membrane, phc_u373, platelet_em, *brains, cardiac_sunnybrook, digits, known_warps)
        with stopped_by_signals():
            fire.Fire({function.__name__: function for function in sets})
    except InputError as error:
        sys.exit(f"error: {error}")
