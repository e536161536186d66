"""Reference values for smoothing: scipy.ndimage.gaussian_filter with the outermost values repeated.

Run in this folder. Arrays are little-endian f32, C order, [k, j, i].
"""
import numpy as np
import scipy
from scipy import ndimage

SPACING_KJI = np.array([2.5, 1.0, 0.8])
SIGMA_MM = 1.9

rng = np.random.default_rng(22)
values = rng.normal(500, 200, (9, 13, 11)).astype(np.float32)
values.astype("<f4").tofile("volume.f32")
smoothed = ndimage.gaussian_filter(values.astype(np.float64), SIGMA_MM / SPACING_KJI, mode="nearest", truncate=4.0)
smoothed.astype("<f4").tofile("smoothed.f32")
print(scipy.__version__, np.__version__)
