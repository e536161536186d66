"""Gamma maps of pymedphys on the boxes of its own shell test and on two smooth doses with unequal grids."""
import json

import numpy as np
import pymedphys


def f32(values):
    return np.asarray(values, "f4").astype("f8")


def boxes():
    axes = tuple(np.arange(n) * 0.1 for n in (10, 12, 14))
    reference = np.zeros((10, 12, 14))
    reference[3:-2, 4:-2, 5:-2] = 1.015
    evaluated = np.zeros((10, 12, 14))
    evaluated[2:-2, 2:-2, 2:-2] = 1.0
    return axes, f32(reference), axes, f32(evaluated)


def smooth():
    """Doses of z, y, x on grids of another spacing and origin."""
    def dose(axes, shift, scale):
        z, y, x = np.meshgrid(*axes, indexing="ij")
        r = ((x - shift) / 14) ** 2 + (y / 11) ** 2 + ((z + shift) / 9) ** 2
        return f32(scale * 60 * np.exp(-(r ** 2)))
    reference = tuple((np.arange(n) - (n - 1) / 2) * s for n, s in ((7, 3.0), (9, 2.5), (11, 2.0)))
    evaluated = tuple((np.arange(n) - (n - 1) / 2) * s for n, s in ((9, 2.5), (13, 2.0), (13, 2.5)))
    return reference, dose(reference, 0.0, 1.0), evaluated, dose(evaluated, 0.6, 1.01)


def rounded(gamma):
    return [None if np.isnan(v) else round(float(v), 9) for v in np.ravel(gamma)]


if __name__ == "__main__":
    out = {"boxes_3_0.3": rounded(pymedphys.gamma(*boxes(), 3, 0.3, lower_percent_dose_cutoff=0))}
    for name, local in (("global", False), ("local", True)):
        for percent, mm in ((1, 1), (2, 3)):
            gamma = pymedphys.gamma(*smooth(), percent, mm, lower_percent_dose_cutoff=20, max_gamma=2, local_gamma=local)
            out[f"smooth_{name}_{percent}_{mm}"] = rounded(gamma)
    print(json.dumps(out, separators=(",", ":")))
