"""Compares what `dump_images` read with what nibabel (NIfTI) and SimpleITK (MetaImage, DICOM) read.

    cargo run -p synthct-io --example dump_images -- FOLDER... | python compare.py

For every file: the largest distance of the eight corner points in mm, the largest difference of the 64 sampled values, and that of
minimum, maximum and mean. For a file that synthct-io refused: its reason, and what the other tool makes of it.
Exit status 1 if a file that both read differs by more than 1e-3 mm, or in a value by more than 32-bit rounding (1e-6 of the range).
"""

import json
import pathlib
import sys
import warnings

import nibabel as nib
import numpy as np
import SimpleITK as sitk

MM_PER_UNIT = {"unknown": 1.0, "mm": 1.0, "meter": 1e3, "micron": 1e-3}
CORNER_TOLERANCE_MM = 1e-3
VALUE_TOLERANCE = 1e-6


def read_nibabel(path, frame):
    image = nib.load(path)
    data = np.asarray(image.get_fdata(dtype=np.float64))
    data = data.reshape(data.shape + (1,) * (3 - data.ndim)) if data.ndim < 3 else data
    data = data.reshape(data.shape[:3] + (-1,), order="F")
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine
    affine[:3] *= MM_PER_UNIT[image.header.get_xyzt_units()[0]]
    return data[..., frame or 0], affine, data.shape[3]


def read_sitk(path, frame):
    if path.is_dir():
        reader = sitk.ImageSeriesReader()
        series = reader.GetGDCMSeriesIDs(str(path))
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(path), series[0]))
        image = reader.Execute()
    else:
        image = sitk.ReadImage(str(path))
    size = image.GetSize()[:3]
    data = sitk.GetArrayFromImage(image).astype(np.float64).T
    data = data.reshape(size + (-1,), order="F")
    n_dims = image.GetDimension()
    direction = np.array(image.GetDirection()).reshape(n_dims, n_dims)[:3, :3]
    affine = np.eye(4)
    affine[:3, :3] = direction * np.array(image.GetSpacing()[:3])
    affine[:3, 3] = image.GetOrigin()[:3]
    return data[..., frame or 0], affine, data.shape[3]


def read(path, frame):
    is_nifti = any(path.name.endswith(end) for end in (".nii", ".nii.gz", ".hdr", ".hdr.gz", ".img", ".img.gz"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return (read_nibabel if is_nifti else read_sitk)(path, frame)


def compare(record):
    """(verdict, corner distance in mm, largest value difference, remark)"""
    path = pathlib.Path(record["path"])
    try:
        data, affine, n_frames = read(path, record.get("frame"))
    except Exception as error:  # whatever the tool throws: it does not read the file either
        reason = str(error).strip().splitlines()[-1][:90]
        if record["ok"]:
            return "only ours", None, None, reason
        return "both refuse", None, None, f"{record['error']} | other: {reason}"
    if not record["ok"]:
        return "refused", None, None, f"{record['error']} | other: {data.shape} x {n_frames}"
    if list(data.shape) != record["size_ijk"]:
        return "DIFFERS", None, None, f"size {record['size_ijk']} against {data.shape}"
    corners = [affine @ [*((n >> axis & 1) * (data.shape[axis] - 1) for axis in range(3)), 1] for n in range(8)]
    distance = max(np.linalg.norm(np.array(a) - b[:3]) for a, b in zip(record["corners_lps"], corners))
    finite = data[np.isfinite(data)]
    differences = [record["min"] - finite.min(), record["max"] - finite.max(), record["mean"] - finite.mean()]
    for i, j, k, value in record["samples"]:
        expected = data[i, j, k]
        if value is None or not np.isfinite(expected):
            differences.append(0.0 if value is None and not np.isfinite(expected) else np.inf)
        else:
            differences.append(value - expected)
    difference = np.max(np.abs(differences))
    scale = max(1.0, np.abs(finite).max())
    remarks = [*record["notes"], *record["warnings"]]
    values_agree = difference <= VALUE_TOLERANCE * scale
    if record["geometry_invented"]:
        verdict = "values agree" if values_agree else "DIFFERS"
        return verdict, distance, difference, "; ".join(remarks)
    agrees = values_agree and distance <= CORNER_TOLERANCE_MM
    return ("agrees" if agrees else "DIFFERS"), distance, difference, "; ".join(remarks)


def main():
    counts, worst = {}, [0.0, 0.0]
    for line in sys.stdin:
        record = json.loads(line)
        verdict, distance, difference, remark = compare(record)
        counts[verdict] = counts.get(verdict, 0) + 1
        if verdict == "agrees":
            worst = [max(worst[0], distance), max(worst[1], difference)]
        figures = "" if distance is None else f"{distance:.1e} mm, {difference:.1e}"
        kind = f"{record.get('format', '')} {record.get('stored') or ''}"
        print(f"{verdict:12} {figures:22} {kind:14} {record['path']}  {remark}")
    print(f"\n{counts}; where both agree: corners within {worst[0]:.1e} mm, values within {worst[1]:.1e}")
    return 1 if counts.get("DIFFERS") else 0


if __name__ == "__main__":
    sys.exit(main())
