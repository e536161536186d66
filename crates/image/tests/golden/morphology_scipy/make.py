"""Reference masks: scipy.ndimage on an anisotropic grid with a region that reaches the edge.

Run in this folder. Arrays are C order, [k, j, i]; masks are bytes 0 or 1, labels bytes, distances little-endian f32.
"""
import numpy as np
import scipy
from scipy import ndimage

SPACING_KJI = np.array([2.5, 1.0, 0.8])
RADIUS_MM = 2.7

rng = np.random.default_rng(21)
noise = ndimage.gaussian_filter(rng.normal(size=(12, 22, 26)), (0.8, 1.6, 1.9))
mask = noise > 0.02


def save(name, array):
    array.astype(np.uint8).tofile(name + ".u8")
    print(name, int((array > 0).sum()), "of", array.size)


def ball(radius_mm):
    reach = np.ceil(radius_mm / SPACING_KJI).astype(int)
    offsets = np.stack(np.meshgrid(*[np.arange(-r, r + 1) for r in reach], indexing="ij"), -1)
    return ((offsets * SPACING_KJI) ** 2).sum(-1) <= radius_mm**2 + 1e-9


save("mask", mask)
save("dilated", ndimage.binary_dilation(mask, ball(RADIUS_MM)))
# border_value=1: what lies beyond the grid does not erode.
eroded = ndimage.binary_erosion(mask, ball(RADIUS_MM), border_value=1)
save("eroded", eroded)
margin = 8
padded = np.pad(mask, margin)
closed = ndimage.binary_closing(padded, ball(RADIUS_MM))[margin:-margin, margin:-margin, margin:-margin]
save("closed", closed)
save("opened", ndimage.binary_dilation(eroded, ball(RADIUS_MM)))
ndimage.distance_transform_edt(~mask, sampling=SPACING_KJI).astype("<f4").tofile("distance.f32")
# Holes in three dimensions and slice by slice: a coarse shell with single voxels knocked out.
shell = (noise > -0.06) & (noise < 0.06) & (rng.random(noise.shape) > 0.04)
save("shell", shell)
save("shell_filled", ndimage.binary_fill_holes(shell))
save("shell_filled_per_slice", np.stack([ndimage.binary_fill_holes(s) for s in shell]))
sparse = ndimage.gaussian_filter(rng.normal(size=noise.shape), 0.8) > 0.28
save("sparse", sparse)
for name, structure in [("faces", ndimage.generate_binary_structure(3, 1)), ("corners", np.ones((3, 3, 3)))]:
    labels, count = ndimage.label(sparse, structure)
    sizes = np.bincount(labels.ravel())[1:]
    order = np.argsort(-sizes, kind="stable")
    new = np.zeros(count + 1, int)
    new[order + 1] = np.arange(1, count + 1)
    assert count < 256
    save("components_" + name, new[labels])
    print(name, count, sizes[order])
print(scipy.__version__, np.__version__)
