"""Pair tables of public sets and of one's own images.

python -m custom_components.datasets phc_u373 --source PhC-C2DH-U373 --to data/phc
python -m custom_components.datasets folder --images slices --labels masks --reach 2 --to pairs.csv
"""

from __future__ import annotations

import sys

import fire

from custom_components.common.errors import InputError
from custom_components.common.stopping import stopped_by_signals
from custom_components.datasets.brains import brain_labels, brain_mri, brain_oasis, brain_slabs
from custom_components.datasets.cardiac import cardiac_sunnybrook
from custom_components.datasets.digits import digits
from custom_components.datasets.folder import folder
from custom_components.datasets.microscopy import membrane, phc_u373, platelet_em
from custom_components.datasets.synthetic_pairs import synthetic_pairs

if __name__ == "__main__":
    try:
        brains = (brain_slabs, brain_labels, brain_oasis, brain_mri)
        sets = (folder, membrane, phc_u373, platelet_em, *brains, cardiac_sunnybrook, digits, synthetic_pairs)
        with stopped_by_signals():
            fire.Fire({function.__name__: function for function in sets})
    except InputError as error:
        sys.exit(f"error: {error}")
