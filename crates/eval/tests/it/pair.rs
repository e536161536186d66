//! A CT/sCT pair made by integer formulas, the same as in `tests/golden/metrics/reference.py`.

use synthct_image::{Grid, ImageError, Mask, PointLps, Volume, VoxelIndex};

/// 32-bit mixing of the voxel index.
fn hashed(n: VoxelIndex, seed: u32) -> u32 {
    let mut h = (n.i as u32).wrapping_mul(73_856_093)
        ^ (n.j as u32).wrapping_mul(19_349_663)
        ^ (n.k as u32).wrapping_mul(83_492_791)
        ^ seed;
    h ^= h >> 16;
    h = h.wrapping_mul(0x85EB_CA6B);
    h ^= h >> 13;
    h = h.wrapping_mul(0xC2B2_AE35);
    h ^ (h >> 16)
}

fn squared_radius(n: VoxelIndex, size_ijk: [usize; 3]) -> i64 {
    std::iter::zip([n.i, n.j, n.k], size_ijk)
        .map(|(n, size)| {
            let (n, size) = (n as i64, size as i64);
            let off = 2 * n - (size - 1);
            off * off * 10_000 / (size * size)
        })
        .sum()
}

/// The CT without noise, HU.
fn clean_ct(n: VoxelIndex, size_ijk: [usize; 3]) -> i64 {
    let r2 = squared_radius(n, size_ijk);
    if r2 < 900 && n.i.is_multiple_of(5) && n.k.is_multiple_of(4) {
        return 3400;
    }
    let in_cavity = 5 * n.j > 3 * size_ijk[1] && 2 * n.i > size_ijk[0];
    match r2 {
        ..5200 => {
            if in_cavity {
                -980
            } else {
                30
            }
        }
        5200..6000 => 700,
        6000..7000 => 1400,
        7000..8100 => 40,
        _ => -1000,
    }
}

/// The CT, the sCT and the mask.
pub(crate) fn pair(
    size_ijk: [usize; 3],
    seed: u32,
    whole_mask: bool,
) -> Result<(Volume<f32>, Volume<f32>, Mask), ImageError> {
    let grid = Grid::axis_aligned(size_ijk, [0.9, 1.1, 1.7], PointLps::new(-20.0, 3.0, 500.0))?;
    let noisy = |clean: i64, n: VoxelIndex, seed: u32, span: u32| {
        let noise = i64::from(hashed(n, seed) % (2 * span + 1)) - i64::from(span);
        (4 * clean + noise) as f32 / 4.0
    };
    let ct = Volume::from_index_fn(&grid, |n| noisy(clean_ct(n, size_ijk), n, seed, 160));
    let sct = Volume::from_index_fn(&grid, |n| {
        let from = if n.k % 3 == 0 && n.i > 0 { VoxelIndex::new(n.i - 1, n.j, n.k) } else { n };
        let clean = (clean_ct(from, size_ijk) * 7).div_euclid(8) - 20;
        noisy(clean, n, seed + 1, 320)
    });
    let mask = Mask::new(Volume::from_index_fn(&grid, |n| whole_mask || squared_radius(n, size_ijk) < 9000));
    Ok((ct, sct, mask))
}
