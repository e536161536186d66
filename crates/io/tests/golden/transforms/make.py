"""Writes the transforms beside this script with SimpleITK and ANTs, and `expected.json` with where SimpleITK takes some points.

Run:  python make.py      (SimpleITK, antspyx, nibabel, numpy; versions in provenance.toml)
"""

import json
import pathlib

import ants
import nibabel as nib
import numpy as np
import SimpleITK as sitk

HERE = pathlib.Path(__file__).parent
rng = np.random.default_rng(11)
POINTS = rng.uniform(-18, 18, (12, 3)).round(3)
CENTER = (3.25, -7.5, 11.0)
expected = {}


def rotation(angles):
    turn = sitk.Euler3DTransform()
    turn.SetRotation(*angles)
    return turn.GetMatrix()


def record(name, transform):
    expected[name] = [[list(map(float, p)), list(transform.TransformPoint(p.tolist()))] for p in POINTS]


def write(name, transform):
    sitk.WriteTransform(transform, str(HERE / name))
    record(name, sitk.ReadTransform(str(HERE / name)))
    return transform


def geometry(image, spacing):
    image.SetSpacing(spacing)
    image.SetDirection(rotation((0.2, -0.3, 0.4)))
    image.SetOrigin((-14.0, -16.5, -12.25))
    return image


affine = sitk.AffineTransform(3)
affine.SetMatrix((1.1, -0.2, 0.05, 0.3, 0.9, -0.1, 0.02, 0.15, 1.2))
affine.SetTranslation((4.5, -6.25, 2.125))
affine.SetCenter(CENTER)
write("affine.tfm", affine)

euler = sitk.Euler3DTransform(CENTER, 0.3, -0.5, 0.7, (1.5, -2.0, 3.0))
write("euler.tfm", euler)
zyx = sitk.Euler3DTransform(CENTER, 0.3, -0.5, 0.7, (1.5, -2.0, 3.0))
zyx.SetComputeZYX(True)
write("euler_zyx.tfm", zyx)

versor = sitk.VersorRigid3DTransform()
versor.SetCenter(CENTER)
versor.SetRotation((1.0, 2.0, -2.0), 0.9)
versor.SetTranslation((-3.0, 0.5, 7.0))
write("versor_rigid.tfm", versor)
write("versor.tfm", sitk.VersorTransform((1.0, 2.0, -2.0), 0.9, CENTER))

similarity = sitk.Similarity3DTransform()
similarity.SetCenter(CENTER)
similarity.SetRotation((1.0, 2.0, -2.0), 0.9)
similarity.SetTranslation((-3.0, 0.5, 7.0))
similarity.SetScale(1.25)
write("similarity.tfm", similarity)

scale = sitk.ScaleTransform(3, (0.5, 1.5, 2.0))
scale.SetCenter(CENTER)
write("scale.tfm", scale)
translation = write("translation.tfm", sitk.TranslationTransform(3, (10.5, -20.25, 30.125)))
write("identity.tfm", sitk.Transform(3, sitk.sitkIdentity))

lattice = geometry(sitk.Image([5, 6, 4], sitk.sitkFloat64), (9.0, 8.0, 10.0))
images = [
    sitk.GetImageFromArray(rng.uniform(-3, 3, lattice.GetSize()[::-1]).round(2)) for _ in range(3)
]
for image in images:
    image.CopyInformation(lattice)
spline = sitk.BSplineTransform(images, 3)
write("bspline.tfm", spline)

vectors = rng.uniform(-3, 3, (5, 4, 6, 3)).astype("f4").round(2)
field = geometry(sitk.GetImageFromArray(vectors, isVector=True), (6.0, 8.5, 7.0))
sitk.WriteImage(field, str(HERE / "field.nii.gz"), useCompression=True)
sitk.WriteImage(field, str(HERE / "field.mha"), useCompression=True)
displacement = sitk.DisplacementFieldTransform(sitk.Cast(field, sitk.sitkVectorFloat64))
write("displacement.tfm", displacement)
for name in ("field.nii.gz", "field.mha"):
    record(name, displacement)

# The same vectors as a NIfTI displacement proper (intent 1006), which ITK 5.3 and later turn from RAS.
stored = nib.load(HERE / "field.nii.gz")
turned = np.asarray(stored.dataobj) * np.array([-1, -1, 1], "f4")
header = stored.header.copy()
header.set_intent(1006)
nib.save(nib.Nifti1Image(turned, None, header), HERE / "field_dispvect.nii.gz")
back = sitk.ReadImage(str(HERE / "field_dispvect.nii.gz"), sitk.sitkVectorFloat64)
record("field_dispvect.nii.gz", sitk.DisplacementFieldTransform(back))

composite = sitk.CompositeTransform(3)
for part in (affine, euler, sitk.ReadTransform(str(HERE / "bspline.tfm"))):
    composite.AddTransform(part)
write("composite.tfm", composite)

# ANTs' own file.
generic = ants.new_ants_transform(precision="double", dimension=3, transform_type="AffineTransform")
generic.set_parameters(affine.GetParameters())
generic.set_fixed_parameters(CENTER)
ants.write_transform(generic, str(HERE / "0GenericAffine.mat"))
record("0GenericAffine.mat", sitk.ReadTransform(str(HERE / "0GenericAffine.mat")))

# Single precision, which neither Python package writes: the names and widths of ITK's C++ classes, read back by SimpleITK.
text = (HERE / "affine.tfm").read_text().replace("AffineTransform_double", "MatrixOffsetTransformBase_float")
(HERE / "affine_float.txt").write_text(text)
record("affine_float.txt", sitk.ReadTransform(str(HERE / "affine_float.txt")))


def single_precision(name, values):
    name = name.encode() + b"\0"
    values = np.asarray(values, "<f4")
    return np.array([10, values.size, 1, 0, len(name)], "<i4").tobytes() + name + values.tobytes()


(HERE / "affine_float.mat").write_bytes(
    single_precision("AffineTransform_float_3_3", affine.GetParameters()) + single_precision("fixed", CENTER)
)
record("affine_float.mat", sitk.ReadTransform(str(HERE / "affine_float.mat")))

(HERE / "expected.json").write_text(json.dumps(expected, indent=None, separators=(",", ":")) + "\n")
