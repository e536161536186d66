"""Writes the golden images beside this script with nibabel and SimpleITK, and `expected.json` with what those tools read back.

Run:  python make.py      (numpy, nibabel, SimpleITK; versions in provenance.toml)
"""

import gzip
import json
import pathlib
import zlib

import nibabel as nib
import numpy as np
import SimpleITK as sitk

HERE = pathlib.Path(__file__).parent
SIZE = (3, 4, 5)
SPACING = np.array([0.7, 1.3, 2.9])
ORIGIN_LPS = np.array([-17.25, 103.5, -411.125])
# Intrinsic rotations about z, y, x by three unlike angles: no axis is along another.
Z, Y, X = np.deg2rad([20.0, -35.0, 50.0])
ROTATION_LPS = (
    np.array([[np.cos(Z), -np.sin(Z), 0], [np.sin(Z), np.cos(Z), 0], [0, 0, 1]])
    @ np.array([[np.cos(Y), 0, np.sin(Y)], [0, 1, 0], [-np.sin(Y), 0, np.cos(Y)]])
    @ np.array([[1, 0, 0], [0, np.cos(X), -np.sin(X)], [0, np.sin(X), np.cos(X)]])
)
FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])
expected = {}


def lps_affine(mirror=False):
    direction = ROTATION_LPS @ np.diag([1, -1, 1]) if mirror else ROTATION_LPS
    affine = np.eye(4)
    affine[:3, :3] = direction * SPACING
    affine[:3, 3] = ORIGIN_LPS
    return affine


def values_ijk(dtype):
    i, j, k = np.meshgrid(*map(np.arange, SIZE), indexing="ij")
    values = 20 * k + 5 * j + i
    return (values - (0 if np.dtype(dtype).kind == "u" else 50)).astype(dtype)


def record(name, corner_lps, data_ijk):
    corners = [corner_lps([(n >> axis & 1) * (SIZE[axis] - 1) for axis in range(3)]) for n in range(8)]
    expected[name] = {
        "corners_lps": [[float(c) for c in corner] for corner in corners],
        "values": [float(v) for v in np.asarray(data_ijk, float).ravel(order="F")],
    }


def record_nifti(name, mm_per_unit=1.0, frame=None):
    image = nib.load(HERE / name)
    data = image.get_fdata()
    data = data[..., frame] if frame is not None else data.reshape(SIZE)
    affine = FLIP @ image.affine
    record(name, lambda index: mm_per_unit * (affine @ [*index, 1])[:3], data)


def record_sitk(name):
    image = sitk.ReadImage(str(HERE / name))
    data = sitk.GetArrayFromImage(image).reshape(SIZE[::-1]).transpose(2, 1, 0)
    if image.GetDimension() == 4:
        image = image[:, :, :, 0]
    record(name, image.TransformIndexToPhysicalPoint, data)


def nifti(name, dtype="i2", *, cls=nib.Nifti1Image, endian="<", sform=True, qform=True, mirror=False, scaling=None,
          units="mm", sform_shift=0.0, data=None, extension=None, mm_per_unit=1.0, frame=None):
    data = values_ijk(dtype) if data is None else data
    affine_ras = FLIP @ lps_affine(mirror)
    affine_ras[:3] /= mm_per_unit
    header = cls.header_class(endianness=endian)
    header.set_data_dtype(np.dtype(dtype).newbyteorder(endian))
    header.set_data_shape(data.shape)
    image = cls(data, None, header)
    shifted = affine_ras.copy()
    shifted[0, 3] += sform_shift
    image.header.set_qform(affine_ras if qform else None, code=1 if qform else 0)
    image.header.set_sform(shifted if sform else None, code=2 if sform else 0)
    if not qform:
        image.header["pixdim"][1:4] = SPACING / mm_per_unit
    image.header.set_xyzt_units(units, "sec")
    if extension:
        image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", extension))
    if scaling:
        image = scaled(image, data, *scaling)
    save(image, name)
    record_nifti(name, mm_per_unit, frame)


def save(image, name):
    """nibabel rewrites the forms from `affine`; without one it leaves them as they are."""
    image._affine = None
    nib.save(image, HERE / name)


def scaled(image, stored, slope, inter):
    """nibabel wants the true values and is told the scaling, so that the stored integers come out as they are."""
    image = type(image)(stored * slope + inter, None, image.header)
    image.header.set_slope_inter(slope, inter)
    return image


def metaimage(name, dtype="i2", compress=False, mirror=False):
    image = sitk.GetImageFromArray(values_ijk(dtype).transpose(2, 1, 0))
    direction = lps_affine(mirror)[:3, :3] / SPACING
    image.SetSpacing(SPACING.tolist())
    image.SetOrigin(ORIGIN_LPS.tolist())
    image.SetDirection(direction.ravel().tolist())
    sitk.WriteImage(image, str(HERE / name), useCompression=compress)
    record_sitk(name)


def metaimage_by_hand(name, lines, data):
    axes = " ".join(map(str, ROTATION_LPS.T.ravel()))
    text = "".join(f"{line}\n" for line in lines).replace("AXES", axes)
    (HERE / name).write_bytes(text.encode() + data)
    record_sitk(name)


for dtype in ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"]:
    nifti(f"nifti1_{dtype}.nii", dtype)
    metaimage(f"metaimage_{dtype}.mha", dtype)
nifti("nifti1_big_endian.nii", "f4", endian=">")
nifti("nifti2.nii.gz", "f8", cls=nib.Nifti2Image)
nifti("nifti2_big_endian.nii", "i2", cls=nib.Nifti2Image, endian=">")
nifti("nifti1_pair.hdr", "u2", cls=nib.Nifti1Pair)
nifti("nifti1_pair_gzip.img.gz", "u1", cls=nib.Nifti1Pair)
nifti("nifti2_pair.hdr", "u2", cls=nib.Nifti2Pair)
nifti("nifti1_scaled.nii", "i2", scaling=(0.5, -3.0))
nifti("nifti1_qform_only.nii", "u1", sform=False)
nifti("nifti1_qform_left_handed.nii", "u1", sform=False, mirror=True)
nifti("nifti1_sform_only.nii", "u1", qform=False)
nifti("nifti1_sform_left_handed.nii.gz", "u1", mirror=True)
nifti("nifti1_forms_disagree.nii", "u1", sform_shift=7.0)
nifti("nifti1_micron.nii", "u1", units="micron", mm_per_unit=1e-3)
nifti("nifti1_meter.nii", "u1", units="meter", mm_per_unit=1e3)
nifti("nifti1_extension.nii", "u1", extension=b"a comment, longer than sixteen bytes")
nifti("nifti1_4d_one_frame.nii", "u1", data=values_ijk("u1")[..., None])
nifti("nifti1_4d_two_frames.nii", "u1", data=np.stack([values_ijk("u1"), values_ijk("u1") + 100], -1), frame=1)

metaimage("metaimage_compressed.mha", "f4", compress=True)
metaimage("metaimage_left_handed.mha", "u1", mirror=True)
metaimage("metaimage_raw.mhd", "i2")
metaimage("metaimage_zraw.mhd", "i2", compress=True)
common = ["ObjectType = Image"]
metaimage_by_hand(
    "metaimage_big_endian.mha",
    [*common, "NDims = 3", "BinaryDataByteOrderMSB = True", "Orientation = AXES", "Position = -17.25 103.5 -411.125",
     "ElementSize = 0.7 1.3 2.9", "DimSize = 3 4 5", "ElementType = MET_SHORT", "ElementDataFile = LOCAL"],
    values_ijk("i2").astype(">i2").tobytes(order="F"),
)
metaimage_by_hand(
    "metaimage_4d.mha",
    [*common, "NDims = 4", "TransformMatrix = "
     + " ".join(str(v) for v in np.block([[ROTATION_LPS.T, np.zeros((3, 1))], [np.zeros((1, 3)), 1]]).ravel()),
     "Offset = -17.25 103.5 -411.125 2", "ElementSpacing = 0.7 1.3 2.9 1.5", "DimSize = 3 4 5 1",
     "ElementType = MET_UCHAR", "ElementDataFile = LOCAL"],
    values_ijk("u1").tobytes(order="F"),
)
packed = zlib.compress(values_ijk("i2").astype("<i2").tobytes(order="F"))
metaimage_by_hand(
    "metaimage_spacing_over_size.mha",
    [*common, "NDims = 3", "BinaryData = True", "CompressedData = True", f"CompressedDataSize = {len(packed)}", "TransformMatrix = AXES",
     "Offset = -17.25 103.5 -411.125", "CenterOfRotation = 1 2 3", "AnatomicalOrientation = LAS", "ElementSize = 9 9 9",
     "ElementSpacing = 0.7 1.3 2.9", "DimSize = 3 4 5", "ElementType = MET_SHORT", "ElementDataFile = LOCAL"],
    packed,
)
(HERE / "metaimage_skipped.dat").write_bytes(b"seventeen bytes.." + values_ijk("i2").astype("<i2").tobytes(order="F"))
for name, header_size in [("metaimage_header_size.mhd", 17), ("metaimage_header_to_the_end.mhd", -1)]:
    metaimage_by_hand(
        name,
        [*common, "NDims = 3", f"HeaderSize = {header_size}", "TransformMatrix = AXES", "Offset = -17.25 103.5 -411.125",
         "ElementSpacing = 0.7 1.3 2.9", "DimSize = 3 4 5", "ElementType = MET_SHORT", "ElementDataFile = metaimage_skipped.dat"],
        b"",
    )

# gzip notes the time of writing; written again without it, the files are the same in every run.
for path in HERE.glob("*.gz"):
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()), mtime=0))
with open(HERE / "expected.json", "w") as file:
    entries = (f'  {json.dumps(name)}: {json.dumps(entry)}' for name, entry in sorted(expected.items()))
    file.write("{\n" + ",\n".join(entries) + "\n}\n")
