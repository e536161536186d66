"""Writes expected.json: every metric in float64 with numpy, scipy and scikit-image, on images made by formula.

The images are integer formulas, so that the Rust test makes the same ones bit for bit (`tests/it/golden.rs`).
MS-SSIM is written out from the challenge's definition; nothing here shares code with the crate.

Usage: python reference.py > expected.json
"""

import json
import sys

import numpy as np
from scipy.ndimage import uniform_filter
from scipy.signal import fftconvolve
from skimage.metrics import peak_signal_noise_ratio, structural_similarity


def hashed(i, j, k, seed):
    """Noise: 32-bit integer mixing of the voxel index, 0 … 2³² − 1."""
    with np.errstate(over="ignore"):
        h = (
            i.astype(np.uint32) * np.uint32(73856093)
            ^ j.astype(np.uint32) * np.uint32(19349663)
            ^ k.astype(np.uint32) * np.uint32(83492791)
            ^ np.uint32(seed)
        )
        h ^= h >> np.uint32(16)
        h *= np.uint32(0x85EBCA6B)
        h ^= h >> np.uint32(13)
        h *= np.uint32(0xC2B2AE35)
        h ^= h >> np.uint32(16)
    return h


def images(size_ijk, seed, whole_mask):
    """CT, sCT and mask, [k, j, i], of a head-like ellipsoid; all values are multiples of 1/4 HU."""
    ni, nj, nk = size_ijk
    k, j, i = np.meshgrid(np.arange(nk), np.arange(nj), np.arange(ni), indexing="ij")
    # Squared distance from the middle, 10000 on the ellipsoid that touches the faces (integer division rounds down).
    def squared(n, size):
        off = 2 * n - (size - 1)
        return off * off * 10000 // (size * size)

    r2 = squared(i, ni) + squared(j, nj) + squared(k, nk)
    ct = np.full(r2.shape, -1000, dtype=np.int64)
    ct[r2 < 8100] = 40
    ct[r2 < 7000] = 1400
    ct[r2 < 6000] = 700
    ct[r2 < 5200] = 30
    cavity = (r2 < 5200) & (5 * j > 3 * nj) & (2 * i > ni)
    ct[cavity] = -980
    metal = (r2 < 900) & (i % 5 == 0) & (k % 4 == 0)
    ct[metal] = 3400
    ct_noise = (hashed(i, j, k, seed) % 321).astype(np.int64) - 160
    sct_noise = (hashed(i, j, k, seed + 1) % 641).astype(np.int64) - 320
    sct = ct * 7 // 8 - 20
    # A displaced front: bone that the sCT has one voxel to the side.
    sct[:, :, 1:] = np.where(k[:, :, 1:] % 3 == 0, sct[:, :, :-1], sct[:, :, 1:])
    ct = ct + ct_noise / 4.0
    sct = sct + sct_noise / 4.0
    mask = np.ones(r2.shape, bool) if whole_mask else r2 < 9000
    return ct, sct, mask


def prepared(ct, sct, mask, lower, upper):
    ct = np.where(mask, np.clip(ct, lower, upper), lower) - lower
    sct = np.where(mask, np.clip(sct, lower, upper), lower) - lower
    return ct, sct


def inner(a):
    return a[3:-3, 3:-3, 3:-3]


def ssim_2023(ct, sct, mask):
    ct, sct = prepared(ct, sct, mask, -1024.0, 3000.0)
    _, full = structural_similarity(ct, sct, win_size=7, data_range=4024.0, full=True)
    return float(inner(full)[inner(mask)].mean())


def ms_ssim_2025(ct, sct, mask):
    ct, sct = prepared(ct, sct, mask, -1024.0, 3071.0)
    span = 4095.0
    c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
    c3 = c2 / 2
    pad = [(max(97 - n, 0) // 2, max(97 - n, 0) - max(97 - n, 0) // 2) for n in ct.shape]
    ct, sct, mask = (np.pad(a, pad, mode="edge") for a in (ct, sct, mask))
    value = 1.0
    per_scale = []
    for weight in (0.0448, 0.2856, 0.3001, 0.2363, 0.1333):
        mean_y, mean_x = uniform_filter(ct, 7), uniform_filter(sct, 7)
        sample = 343 / 342
        var_y = sample * (uniform_filter(ct * ct, 7) - mean_y**2)
        var_x = sample * (uniform_filter(sct * sct, 7) - mean_x**2)
        cov = sample * (uniform_filter(ct * sct, 7) - mean_x * mean_y)
        sd_y, sd_x = np.sqrt(np.maximum(var_y, 0)), np.sqrt(np.maximum(var_x, 0))
        luminance = np.maximum((2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1), 0) ** weight
        contrast = np.maximum((2 * sd_x * sd_y + c2) / (var_x + var_y + c2), 0) ** weight
        structure = np.maximum((cov + c3) / (sd_x * sd_y + c3), 0) ** weight
        scale = inner(luminance * contrast * structure)[inner(mask)].mean()
        per_scale.append(float(scale))
        value *= min(max(scale, 0.0), 1.0)
        # As in the challenge's program: voxel n averages n − 1 and n, with zero before the first.
        box = np.full((2, 2, 2), 1 / 8)
        ct, sct = (fftconvolve(a, box, mode="same") for a in (ct, sct))
        ct, sct, mask = (a[::2, ::2, ::2] for a in (ct, sct, mask))
    return float(value), per_scale


def dice(a, b):
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def evaluate(ct, sct, mask):
    y, x = ct[mask], sct[mask]
    yc, xc = np.clip(y, -1000, 3000), np.clip(x, -1000, 3000)
    ranges = {"air": (-1000, -400), "soft_tissue": (-250, 250), "bone": (250, 3000)}
    region = {name: ((yc >= lo) & (yc <= hi), (xc >= lo) & (xc <= hi)) for name, (lo, hi) in ranges.items()}
    ms_ssim, per_scale = ms_ssim_2025(ct, sct, mask)

    def psnr(lower, upper):
        return float(
            peak_signal_noise_ratio(np.clip(y, lower, upper), np.clip(x, lower, upper), data_range=upper - lower)
        )

    return {
        "mae_hu": {"body": float(np.abs(y - x).mean())}
        | {name: float(np.abs(y - x)[of_ct].mean()) for name, (of_ct, _) in region.items()},
        "mean_error_hu": {"body": float((x - y).mean())}
        | {name: float((x - y)[of_ct].mean()) for name, (of_ct, _) in region.items()},
        "dice": {"body": dice(y > -400, x > -400)} | {name: dice(*both) for name, both in region.items()},
        "bone_dice_by_threshold": [
            {"threshold_hu": t, "dice": dice(y >= t, x >= t)} for t in [*range(250, 1451, 100), 1500]
        ],
        "ssim": ssim_2023(ct, sct, mask),
        "ms_ssim": ms_ssim,
        "psnr_db": psnr(-1024.0, 3000.0),
        "psnr_synthrad2025_db": psnr(-1024.0, 3071.0),
        "per_scale": per_scale,
    }


CASES = [
    {"size_ijk": [40, 36, 30], "seed": 1, "whole_mask": False},
    {"size_ijk": [33, 27, 41], "seed": 2, "whole_mask": False},
    {"size_ijk": [19, 101, 23], "seed": 3, "whole_mask": True},
    {"size_ijk": [110, 12, 98], "seed": 4, "whole_mask": True},
]

if __name__ == "__main__":
    result = []
    for case in CASES:
        ct, sct, mask = images(case["size_ijk"], case["seed"], case["whole_mask"])
        # Guards the Rust copy of the formula: exact sums, since all values are multiples of 1/4.
        checks = {"sum_ct": float(ct.sum()), "sum_sct": float(sct.sum()), "n_mask": int(mask.sum())}
        result.append(case | checks | {"expected": evaluate(ct, sct, mask)})
    json.dump(result, sys.stdout, indent=1)
    print()
