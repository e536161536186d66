"""What other readers make of DICOM series: the expected values of the `dicom` golden.

usage: dicom_series.py DATA_FOLDER > ../golden/dicom/expected.tsv

Values come from pydicom, or SimpleITK where pydicom has no decoder (stored value x slope + intercept in float64, rounded to float32), geometry from SimpleITK, whose
grid is checked against ImagePositionPatient of the first and last slice. SimpleITK keeps the frames of an enhanced image in their
order, be it left-handed; such a stack is turned over here. One line a series, separated by tabs:
path below the data folder, i j k sizes, the eight corner voxel centres in LPS mm (i fastest), CRC-32 of the float32 values
(little endian, i fastest, slices ascending along the normal), minimum, maximum.
Padding is not replaced here: the listed series declare none.
"""

import os
import sys
import zlib

import numpy as np
import pydicom
import SimpleITK as sitk

SERIES = [
    "head-mr-volunteer/dicom_t1_se_sag",
    "dicom-ct-philips-phantom",
    "ct-liver-sct/dicom_ct_every4th",
    "ct-thorax-rt/dicom_ct_subset",
    "dicom-syntaxes/MR2_UNCR.dcm",
    "dicom-syntaxes/bad_sequence.dcm",
    "dicom-syntaxes/MR2_J2KR.dcm",
    "dicom-syntaxes/ct_series_j2k_lossless",
    "dicom-syntaxes/eCT_Supplemental.dcm",
]


def files_of(path):
    if os.path.isfile(path):
        return [path]
    return [os.path.join(root, name) for root, _, names in os.walk(path) for name in names]


def frames_of(ds):
    """Position, orientation, slope and intercept of each frame."""
    shared = ds.SharedFunctionalGroupsSequence[0]
    rescale = shared.PixelValueTransformationSequence[0]
    for frame in ds.PerFrameFunctionalGroupsSequence:
        yield (
            frame.PlanePositionSequence[0].ImagePositionPatient,
            shared.PlaneOrientationSequence[0].ImageOrientationPatient,
            float(rescale.RescaleSlope),
            float(rescale.RescaleIntercept),
        )


def main(data):
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    for series in SERIES:
        slices = []
        for name in files_of(os.path.join(data, series)):
            ds = pydicom.dcmread(name)
            assert "PixelPaddingValue" not in ds, name
            try:
                stored = ds.pixel_array.astype(np.float64)
            except RuntimeError:
                # pydicom decodes JPEG lossless only with plug-ins; SimpleITK gives rescaled values, here with slope 1.
                assert ds.RescaleSlope == 1
                stored = sitk.GetArrayFromImage(sitk.ReadImage(name))[0].astype(np.float64) - float(ds.RescaleIntercept)
            if "PerFrameFunctionalGroupsSequence" in ds:
                frames = list(zip(stored, frames_of(ds)))
            else:
                slope, intercept = float(ds.get("RescaleSlope", 1)), float(ds.get("RescaleIntercept", 0))
                frames = [(stored, (ds.ImagePositionPatient, ds.ImageOrientationPatient, slope, intercept))]
            for stored, (position, orientation, slope, intercept) in frames:
                position, orientation = np.array(position, float), np.array(orientation, float)
                depth = float(np.dot(position, np.cross(orientation[:3], orientation[3:])))
                slices.append((depth, name, (stored * slope + intercept).astype("<f4"), position))
        slices.sort(key=lambda item: item[0])
        values = np.stack([item[2] for item in slices])
        nk, nj, ni = values.shape

        names = list(dict.fromkeys(item[1] for item in slices))
        image = sitk.ReadImage(names) if len(names) > 1 else sitk.ReadImage(names[0])
        if np.linalg.det(np.reshape(image.GetDirection(), (3, 3))) < 0:
            image = image[:, :, ::-1]
        assert image.GetSize() == (ni, nj, nk), (series, image.GetSize())
        theirs = sitk.GetArrayFromImage(image).astype(np.float64)
        assert np.abs(theirs - values).max() <= 1e-3, (series, np.abs(theirs - values).max())
        first = np.array(image.TransformIndexToPhysicalPoint((0, 0, 0)))
        last = np.array(image.TransformIndexToPhysicalPoint((0, 0, nk - 1)))
        assert np.abs(first - slices[0][3]).max() < 1e-3, (series, first, slices[0][3])
        assert np.abs(last - slices[-1][3]).max() < 1e-3, (series, last, slices[-1][3])

        corners = []
        for corner in range(8):
            index = [int(n - 1) if corner >> axis & 1 else 0 for axis, n in enumerate((ni, nj, nk))]
            corners += [f"{v:.6f}" for v in image.TransformIndexToPhysicalPoint(index)]
        crc = zlib.crc32(np.ascontiguousarray(values).tobytes())
        fields = [series, ni, nj, nk, *corners, f"{crc:08x}", f"{values.min():.9g}", f"{values.max():.9g}"]
        print("\t".join(str(field) for field in fields))


if __name__ == "__main__":
    main(sys.argv[1])
