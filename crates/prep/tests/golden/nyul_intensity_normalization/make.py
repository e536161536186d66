"""Reference values for Nyúl's normalisation: the package intensity-normalization on three small images.

Run in this folder. Images are little-endian f32, C order, [k, j, i], one after the other; masks are bytes, 0 or 1.
"""
import importlib.metadata
import json

import numpy as np
from intensity_normalization.adapters.images import NumpyImageAdapter
from intensity_normalization.normalizers.population.nyul import NyulNormalizer

SHAPE_KJI = (7, 9, 11)

rng = np.random.default_rng(24)
images = [
    rng.gamma(4.0, 120.0, SHAPE_KJI) - 90.0,             # some voxels below zero
    np.maximum(rng.normal(0.9, 0.5, SHAPE_KJI), 0.0),    # some that are zero
    np.round(rng.gamma(2.0, 2.0, SHAPE_KJI)) + 1.0,      # integers, so few that landmarks coincide
]
images = [image.astype(np.float32) for image in images]
masks = [(rng.random(SHAPE_KJI) < 0.6).astype(np.uint8) for _ in images]
np.stack(images).astype("<f4").tofile("images.f32")
np.stack(masks).tofile("masks.u8")

expected = {}
for name, given in (("above_zero", [None] * 3), ("mask", [NumpyImageAdapter(mask) for mask in masks])):
    normalizer = NyulNormalizer()
    adapted = [NumpyImageAdapter(image) for image in images]
    normalizer.fit_population(adapted, None if given[0] is None else given)
    out = [normalizer.transform(image, mask).get_data() for image, mask in zip(adapted, given)]
    assert np.isfinite(out).all()
    np.stack(out).astype("<f4").tofile(f"normalized_{name}.f32")
    assert any((np.diff(np.percentile(image[image > 0], normalizer.percentiles)) == 0).any() for image in images)
    expected[name] = {
        "percentiles": normalizer.percentiles.tolist(),
        "standard_scale": normalizer.standard_scale.tolist(),
    }
with open("landmarks.json", "w", encoding="utf-8") as file:
    json.dump(expected, file, indent=1)
    file.write("\n")
print(importlib.metadata.version("intensity-normalization"), np.__version__)
