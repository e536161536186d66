"""Reference values for N4: SimpleITK's N4BiasFieldCorrectionImageFilter on an image given by a formula.

Run in this folder. The array is little-endian f32, C order, [k, j, i]: every third voxel of the log field.
tests/it/n4.rs has the same formula.
"""
import numpy as np
import SimpleITK as sitk

NI, NJ, NK = 32, 36, 28
k, j, i = np.meshgrid(np.arange(NK), np.arange(NJ), np.arange(NI), indexing="ij")
x, y, z = i / 31.0, j / 35.0, k / 27.0
tissue = np.where(np.sin(11 * x + 3 * z) * np.cos(9 * y - 2 * x) > 0.1, 640.0, np.where(z * z + y > 0.9, 410.0, 250.0))
grain = (i * 7919 + j * 104729 + k * 1299709) % 41 - 20.0
image = np.rint(tissue * np.exp(0.5 * x * x - 0.4 * y + 0.3 * z * x) + grain).astype(np.float32)
mask = ((x - 0.5) ** 2 + (y - 0.5) ** 2 + (z - 0.45) ** 2 < 0.21).astype(np.uint8)

n4 = sitk.N4BiasFieldCorrectionImageFilter()
n4.SetMaximumNumberOfIterations([12, 12, 12])
n4.SetConvergenceThreshold(0.0)
image, mask = (sitk.GetImageFromArray(a) for a in (image, mask))
for a in (image, mask):
    a.SetSpacing((2.0, 1.5, 3.0))
n4.Execute(image, mask)
field = sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(image))
field[::3, ::3, ::3].astype("<f4").tofile("log_field.f32")
print(sitk.Version_VersionString(), field.min(), field.max())
