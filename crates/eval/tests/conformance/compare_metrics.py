"""Recomputes the metrics of `sct evaluate --json` from the image files and prints the differences.

Usage: python compare_metrics.py CT SCT MASK ours.json [--tolerance 1e-6]

CT, SCT and MASK are NIfTI files on one grid.
Exits 1 if a number differs by more than the tolerance (relative), or is present on one side only.
Needs numpy, scipy, scikit-image and nibabel; the metrics come from ../golden/metrics/reference.py.
"""

import argparse
import json
import sys
from pathlib import Path

import nibabel
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "golden" / "metrics"))
import reference  # noqa: E402


def load(path):
    image = nibabel.load(path)
    # Stored i, j, k; float32 is what the crate stores.
    return np.asarray(image.dataobj, dtype=np.float32).astype(np.float64).T, image.affine


def flat(value, prefix=""):
    """{"mae_hu.body": number, …}; a {"mean": …} is its mean."""
    if isinstance(value, dict):
        if "mean" in value:
            return {prefix: value["mean"]}
        return {k: v for name, part in value.items() for k, v in flat(part, f"{prefix}.{name}".strip(".")).items()}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return {k: v for e in value for k, v in flat(e["dice"], f"{prefix}.{e['threshold_hu']:g}").items()}
    return {prefix: value} if isinstance(value, (int, float)) else {}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ct")
    parser.add_argument("sct")
    parser.add_argument("mask")
    parser.add_argument("ours")
    parser.add_argument("--tolerance", type=float, default=1e-6)
    arguments = parser.parse_args()
    (ct, ct_affine), (sct, sct_affine), (mask, mask_affine) = (
        load(path) for path in (arguments.ct, arguments.sct, arguments.mask)
    )
    for name, affine, shape in (("sct", sct_affine, sct.shape), ("mask", mask_affine, mask.shape)):
        if shape != ct.shape or not np.allclose(affine, ct_affine, atol=1e-2):
            sys.exit(f"{name} is not on the grid of the ct")
    with np.errstate(all="ignore"):
        theirs = reference.evaluate(ct, sct, mask > 0)
    theirs.pop("per_scale")
    theirs = {name: value for name, value in flat(theirs).items() if np.isfinite(value)}
    with open(arguments.ours, encoding="utf-8") as file:
        ours = flat(json.load(file))
    ours.pop("n", None)
    failed = False
    print(f"{'metric':34} {'ours':>18} {'reference':>18} {'relative':>10}")
    for name in theirs | ours:
        a, b = ours.get(name), theirs.get(name)
        if a is None or b is None:
            failed = True
            print(f"{name:34} {a!s:>18} {b!s:>18} {'MISSING':>10}")
            continue
        relative = abs(a - b) / max(abs(b), 1e-12)
        failed |= relative > arguments.tolerance
        mark = "  DIFFERS" if relative > arguments.tolerance else ""
        print(f"{name:34} {a:18.12g} {b:18.12g} {relative:10.1e}{mark}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
