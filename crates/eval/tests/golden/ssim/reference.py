"""Writes expected.json: structural similarity by scikit-image in float64, on the images of ../metrics/reference.py.

Usage: python reference.py > expected.json
"""

import json
import pathlib
import sys

from skimage.metrics import structural_similarity

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "metrics"))
from reference import images  # noqa: E402

RANGE = 2500.0
CASES = [{"size_ijk": [22, 17, 13], "seed": 1}, {"size_ijk": [11, 12, 14], "seed": 2}]
WINDOWS = {
    "scikit_image": {},
    "wang2004": {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False},
    "uniform5_plain": {"win_size": 5, "use_sample_covariance": False},
    "gaussian1_sample": {"gaussian_weights": True, "sigma": 1.0, "K1": 0.02, "K2": 0.05},
}

result = []
for case in CASES:
    ct, sct, mask = images(case["size_ijk"], case["seed"], False)
    for window, options in WINDOWS.items():
        mean, full = structural_similarity(ct, sct, data_range=RANGE, full=True, **options)
        values = {"mean": float(mean), "masked": float(full[mask].mean())}
        # Every 97th value of the map, faces and corners among them.
        values["map"] = [float(value) for value in full.ravel()[::97]]
        result.append(case | {"window": window} | values)
json.dump(result, sys.stdout, indent=1)
print()
