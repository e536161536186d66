"""Reference values for resampling: SimpleITK resamples an oblique volume onto another oblique grid.

Run in this folder. Arrays are little-endian, C order, [k, j, i]; `field` has a last axis x, y, z (LPS mm).
"""
import numpy as np
import SimpleITK as sitk

rng = np.random.default_rng(20)


def rotation(axis, degrees):
    transform = sitk.VersorTransform()
    transform.SetRotation(axis, np.radians(degrees))
    return np.array(transform.GetMatrix()).reshape(3, 3)


def place(image, spacing, origin, direction):
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    image.SetDirection(direction.ravel().tolist())
    return image


# Smooth structure plus noise, of the size of an MR's values.
k, j, i = np.indices((11, 15, 17))
values = 300 + 200 * np.sin(i / 2.5) * np.cos(j / 3.0) + 20 * k + rng.normal(0, 30, i.shape)
values.astype("<f4").tofile("volume.f32")
volume = place(
    sitk.GetImageFromArray(values.astype(np.float32)),
    (1.1, 0.9, 2.3), (-12.0, 7.5, 31.0), rotation((1, 2, 3), 35),
)

# A grid around the same middle that leaves the volume at its corners.
target_direction = rotation((3, -1, 1), 130)
target_spacing = np.array([1.3, 1.7, 1.2])
target_size = np.array([14, 12, 16])
middle = np.array(volume.TransformContinuousIndexToPhysicalPoint((8.0, 7.0, 5.0)))
target_origin = middle - target_direction @ (target_spacing * (target_size - 1) / 2)
target = place(
    sitk.Image(target_size.tolist(), sitk.sitkFloat32),
    target_spacing.tolist(), target_origin.tolist(), target_direction,
)

affine = sitk.AffineTransform(3)
affine.SetMatrix((rotation((0, 1, 1), 12) @ np.diag([1.05, 0.95, 1.1])).ravel().tolist())
affine.SetTranslation((0.4, -1.3, 2.1))
affine.SetCenter(middle.tolist())

# Vectors of up to about 2 mm on a coarse grid that covers only part of the target.
field = rng.normal(0, 1, (5, 6, 7, 3)).astype(np.float32)
field.astype("<f4").tofile("field.f32")
field_direction = rotation((0, 0, 1), 20)
field_spacing = np.array([3.0, 3.5, 4.0])
field_origin = middle - field_direction @ (field_spacing * np.array([3.0, 2.5, 2.0]))
field_image = sitk.GetImageFromArray(field.astype(np.float64), isVector=True)
displacement = sitk.DisplacementFieldTransform(
    place(field_image, field_spacing.tolist(), field_origin.tolist(), field_direction)
)

cases = {
    "nearest": (sitk.Transform(), sitk.sitkNearestNeighbor),
    "linear": (sitk.Transform(), sitk.sitkLinear),
    "bspline": (sitk.Transform(), sitk.sitkBSpline),
    "linear_affine": (affine, sitk.sitkLinear),
    "linear_displacement": (displacement, sitk.sitkLinear),
    # SimpleITK applies the last transform of the list first.
    "bspline_affine_after_displacement": (sitk.CompositeTransform([affine, displacement]), sitk.sitkBSpline),
}
field_again = sitk.GetImageFromArray(field.astype(np.float64), isVector=True)
for name, (transform, interpolator) in cases.items():
    out = sitk.Resample(volume, target, transform, interpolator, -7.0, sitk.sitkFloat32)
    array = sitk.GetArrayFromImage(out)
    array.astype("<f4").tofile(f"{name}.f32")
    print(name, "outside:", (array == -7).mean().round(3))

numbers = {
    "VOLUME": (volume.GetSize(), volume.GetSpacing(), volume.GetOrigin(), volume.GetDirection()),
    "TARGET": (target.GetSize(), target.GetSpacing(), target.GetOrigin(), target.GetDirection()),
    "FIELD": (field.shape[2::-1], field_spacing, field_origin, field_direction.ravel()),
    # y = matrix (x - center) + translation + center
    "AFFINE": (affine.GetMatrix(), affine.GetTranslation(), affine.GetCenter()),
}
with open("geometry.txt", "w", encoding="ascii") as file:
    for name, groups in numbers.items():
        flat = [float(number) for group in groups for number in group]
        file.write(name + " " + " ".join(repr(number) for number in flat) + "\n")
print(sitk.Version_VersionString(), np.__version__)
