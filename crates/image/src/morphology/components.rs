//! Connected components.

use crate::{Mask, Volume};

/// Which voxels touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Connectivity {
    /// Voxels that share a face (6 neighbours).
    Faces,
    /// Voxels that share a face, an edge or a corner (26 neighbours).
    Corners,
}

/// A mask taken apart into connected pieces.
///
/// Components are ordered by size, the largest first, and among equals by their first voxel in memory order, so that
/// the numbering is a property of the mask.
#[derive(Clone, Debug, PartialEq)]
pub struct Components {
    labels: Volume<u32>,
    sizes: Vec<usize>,
}

impl Components {
    /// The number of components.
    pub const fn count(&self) -> usize {
        self.sizes.len()
    }

    /// The label of each voxel: 0 outside the mask, 1 for the largest component, and so on.
    pub const fn labels(&self) -> &Volume<u32> {
        &self.labels
    }

    /// The numbers of voxels, the largest first: `sizes()[0]` is that of label 1.
    pub fn sizes(&self) -> &[usize] {
        &self.sizes
    }

    /// The component with a label from 1 on; empty if there is no such component, the background for 0.
    pub fn region(&self, label: u32) -> Mask {
        Mask::from_values(&self.labels, |&value| value == label)
    }
}

/// The connected components of a mask.
pub fn connected_components(mask: &Mask, connectivity: Connectivity) -> Components {
    let grid = mask.grid();
    let [ni, nj, nk] = grid.size_ijk();
    let inside = mask.as_slice();
    let steps = neighbor_steps(connectivity);
    // Provisional labels in the order of first voxels.
    let mut labels = vec![0_u32; inside.len()];
    let mut sizes: Vec<usize> = Vec::new();
    let mut to_visit = Vec::new();
    for start in 0..inside.len() {
        if !inside[start] || labels[start] != 0 {
            continue;
        }
        let label = sizes.len() as u32 + 1;
        let mut size = 0;
        labels[start] = label;
        to_visit.push(start);
        while let Some(at) = to_visit.pop() {
            size += 1;
            let (i, j, k) = (at % ni, at / ni % nj, at / (ni * nj));
            for &[di, dj, dk] in &steps {
                // A step below zero wraps around to a huge index and fails the comparison.
                let (i, j, k) =
                    (i.wrapping_add_signed(di), j.wrapping_add_signed(dj), k.wrapping_add_signed(dk));
                if i < ni && j < nj && k < nk {
                    let next = (k * nj + j) * ni + i;
                    if inside[next] && labels[next] == 0 {
                        labels[next] = label;
                        to_visit.push(next);
                    }
                }
            }
        }
        sizes.push(size);
    }
    // A stable sort keeps the order of first voxels among equals.
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|&provisional| std::cmp::Reverse(sizes[provisional]));
    let mut final_label = vec![0_u32; sizes.len() + 1];
    for (rank, &provisional) in order.iter().enumerate() {
        final_label[provisional + 1] = rank as u32 + 1;
    }
    for label in &mut labels {
        *label = final_label[*label as usize];
    }
    let sizes = order.iter().map(|&provisional| sizes[provisional]).collect();
    let labels = Volume::from_vec(grid.clone(), labels).expect("because there is one label a voxel");
    Components { labels, sizes }
}

/// The largest component of a mask, by faces; of equally large ones the first in memory; empty if the mask is.
pub fn largest_component(mask: &Mask) -> Mask {
    connected_components(mask, Connectivity::Faces).region(1)
}

/// The steps to the neighbours along i, j, k.
fn neighbor_steps(connectivity: Connectivity) -> Vec<[isize; 3]> {
    let unit = [-1_isize, 0, 1];
    let all = unit.iter().flat_map(|&dk| unit.iter().flat_map(move |&dj| unit.map(|di| [di, dj, dk])));
    all.filter(|step| match connectivity {
        Connectivity::Faces => step.iter().filter(|&&d| d != 0).count() == 1,
        Connectivity::Corners => step.iter().any(|&d| d != 0),
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Grid, ImageError, PointLps, VoxelIndex};

    fn mask_of(voxels: &[[usize; 3]]) -> Result<Mask, ImageError> {
        let grid = Grid::axis_aligned([5, 4, 3], [1.0; 3], PointLps::ORIGIN)?;
        let mut volume = Volume::filled(&grid, false);
        for &[i, j, k] in voxels {
            volume[VoxelIndex::new(i, j, k)] = true;
        }
        Ok(Mask::new(volume))
    }

    #[test]
    fn a_corner_joins_only_where_corners_count() -> Result<(), ImageError> {
        let mask = mask_of(&[[1, 1, 1], [2, 2, 2], [2, 3, 2]])?;
        assert_eq!(connected_components(&mask, Connectivity::Faces).sizes(), [2, 1]);
        assert_eq!(connected_components(&mask, Connectivity::Corners).sizes(), [3]);
        Ok(())
    }

    #[test]
    fn labels_go_by_size_and_then_by_first_voxel() -> Result<(), ImageError> {
        let mask = mask_of(&[[0, 0, 0], [4, 0, 0], [0, 3, 0], [1, 3, 0], [0, 0, 2]])?;
        let components = connected_components(&mask, Connectivity::Faces);
        assert_eq!((components.count(), components.sizes()), (4, &[2, 1, 1, 1][..]));
        let label_at = |i, j, k| components.labels()[VoxelIndex::new(i, j, k)];
        assert_eq!(
            [label_at(1, 3, 0), label_at(0, 0, 0), label_at(4, 0, 0), label_at(0, 0, 2)],
            [1, 2, 3, 4]
        );
        assert_eq!(largest_component(&mask), mask_of(&[[0, 3, 0], [1, 3, 0]])?);
        Ok(())
    }

    #[test]
    fn rows_do_not_touch_around_the_edge() -> Result<(), ImageError> {
        // Neighbours in memory, far apart in space.
        for pair in [[[4, 0, 0], [0, 1, 0]], [[4, 3, 0], [0, 0, 1]]] {
            assert_eq!(connected_components(&mask_of(&pair)?, Connectivity::Corners).count(), 2, "{pair:?}");
        }
        Ok(())
    }

    #[test]
    fn an_empty_mask_has_no_components() -> Result<(), ImageError> {
        let empty = mask_of(&[])?;
        assert_eq!(connected_components(&empty, Connectivity::Faces).count(), 0);
        assert_eq!(largest_component(&empty), empty);
        Ok(())
    }
}
