//! The search for a start.

use rayon::prelude::*;
use synthct_image::{AffineTransform, Matrix3, PointLps};

use super::body::Body;
use super::config::{InitialAlignment, LinearConfig, LinearModel};
use super::level::{Input, Level};
use super::map::{CenteredMap, rotation};
use super::metric::Evaluation;
use super::optimize::{WalkEnd, WalkLimits, climb};
use crate::{LevelReport, Metric, RegisterError, Stage, Start};

/// A start that is being tried.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    start: Start,
    transform: AffineTransform,
}

/// The starts that an initial alignment allows, likelier ones first.
///
/// # Errors
/// [`RegisterError::Image`] for a transform that is not finite.
fn candidates(
    init: &InitialAlignment,
    centers: [PointLps; 2],
    bodies: [Body; 2],
) -> Result<Vec<Candidate>, RegisterError> {
    let header = Candidate { start: Start::Header, transform: AffineTransform::IDENTITY };
    let onto = |start: Start, matrix: Matrix3, [fixed, moving]: [PointLps; 2]| {
        let transform = CenteredMap { matrix, center: fixed, image: moving }.to_transform()?;
        Ok::<_, RegisterError>(Candidate { start, transform })
    };
    let by_centers = onto(Start::Centers, Matrix3::IDENTITY, centers)?;
    let masses = bodies.map(|body| body.center);
    let by_masses = onto(Start::CentersOfMass, Matrix3::IDENTITY, masses)?;
    let [fixed_axes, moving_axes] = bodies.map(|body| body.axes);
    // An axis has no sign: four proper ways to lay one set on the other.
    let by_moments =
        [[1.0, 1.0, 1.0], [1.0, -1.0, -1.0], [-1.0, 1.0, -1.0], [-1.0, -1.0, 1.0]].map(|signs| {
            onto(Start::Moments, moving_axes * Matrix3::diagonal(signs) * fixed_axes.transposed(), masses)
        });
    let mut all = Vec::new();
    match init {
        InitialAlignment::Given(transform) => {
            all.push(Candidate { start: Start::Given, transform: *transform });
        }
        InitialAlignment::Header => all.push(header),
        InitialAlignment::Centers => all.push(by_centers),
        InitialAlignment::Moments => {
            for candidate in by_moments {
                all.push(candidate?);
            }
        }
        InitialAlignment::Auto => {
            all.extend([header, by_centers, by_masses]);
            for candidate in by_moments {
                all.push(candidate?);
            }
            for matrix in covering_rotations() {
                let cosine =
                    ((matrix.0[0][0] + matrix.0[1][1] + matrix.0[2][2] - 1.0) / 2.0).clamp(-1.0, 1.0);
                all.push(onto(Start::Turned { angle_deg: cosine.acos().to_degrees() }, matrix, masses)?);
            }
        }
    }
    Ok(all)
}

/// Rotations that leave no rotation further than 45° away, without the identity: those of the icosahedron (60) and of
/// the cube (24), so that the half and quarter turns of mistaken patient positions are met exactly.
fn covering_rotations() -> Vec<Matrix3> {
    let golden = f64::midpoint(1.0, 5_f64.sqrt());
    // Axes of the icosahedron with the vertices (0, ±1, ±φ) and cyclic; those of the cube.
    let mut turns: Vec<([f64; 3], usize)> = Vec::new();
    let cyclic = |[x, y, z]: [f64; 3]| [[x, y, z], [y, z, x], [z, x, y]];
    for sign in [1.0, -1.0] {
        turns.extend(cyclic([0.0, 1.0, sign * golden]).map(|axis| (axis, 5)));
        turns.extend(cyclic([0.0, golden, sign / golden]).map(|axis| (axis, 3)));
        turns.extend(cyclic([1.0, sign, 0.0]).map(|axis| (axis, 2)));
        for other in [1.0, -1.0] {
            turns.push(([1.0, sign, other], 3));
            turns.extend(cyclic([other * golden, sign, golden * golden]).map(|axis| (axis, 2)));
        }
    }
    turns.extend(cyclic([1.0, 0.0, 0.0]).map(|axis| (axis, 4)));
    let mut rotations = Vec::new();
    for (axis, order) in turns {
        let length = axis.iter().map(|c| c * c).sum::<f64>().sqrt();
        for step in 1..order {
            let angle = std::f64::consts::TAU * step as f64 / order as f64;
            rotations.push(rotation(axis.map(|c| c / length * angle)));
        }
    }
    rotations
}

/// The points at which the first level compares; the second takes four times as many.
const FIRST_SAMPLES: usize = 4096;
/// How many candidates go on to the second level.
const FINALISTS: usize = 4;
/// The most steps of each on either level: enough to come near, not to arrive.
const MAX_ITERATIONS: usize = 12;
/// Ends that move the samples to places nearer than this, in mm, are one.
const SAME_WITHIN_MM: f64 = 10.0;

/// The start that was found, and how.
pub(crate) struct Chosen {
    pub(crate) start: Start,
    pub(crate) transform: AffineTransform,
    pub(crate) report: LevelReport,
}

/// A candidate after its walk on one level.
struct Climbed {
    start: Start,
    end: WalkEnd<Evaluation>,
}

/// The candidate whose rigid walks on the two coarsest levels end highest in normalised mutual information, which,
/// unlike the plain one, does not reward a small overlap.
///
/// # Errors
/// [`RegisterError::NoOverlap`] if every candidate leaves too few samples in the moving image.
pub(crate) fn search(
    fixed: Input<'_>,
    moving: Input<'_>,
    config: &LinearConfig,
    observe: &mut dyn FnMut(f64, usize, f64),
) -> Result<Chosen, RegisterError> {
    let first_mm = config.spacings_mm[0];
    let second_mm = config.spacings_mm.get(1).copied().unwrap_or(first_mm);
    let coarse = Level::new(fixed, moving, first_mm, FIRST_SAMPLES, config.bins, config.seed)?;
    let bodies = [Body::find(&coarse.fixed, fixed.mask), Body::find(&coarse.moving, moving.mask)];
    let centers = [fixed.volume.grid().center_lps(), moving.volume.grid().center_lps()];
    let candidates = candidates(&config.init, centers, bodies)?;
    let n_candidates = candidates.len();
    let mut ends = climbed_all(&coarse, candidates)?;
    // A stable sort: of equals, the likelier start stays first.
    ends.sort_by(|a, b| b.end.after.normalized.total_cmp(&a.end.after.normalized));
    observe(first_mm, n_candidates, ends[0].end.after.standing.value);
    let moments = coarse.samples.second_moments();
    let mut finalists: Vec<Candidate> = Vec::new();
    let mut maps: Vec<CenteredMap> = Vec::new();
    for Climbed { start, end } in ends {
        if finalists.len() < FINALISTS
            && maps.iter().all(|other| other.distance_mm(&end.map, &moments) > SAME_WITHIN_MM)
        {
            finalists.push(Candidate { start, transform: end.map.to_transform()? });
            maps.push(end.map);
        }
    }
    let finer = Level::new(fixed, moving, second_mm, 4 * FIRST_SAMPLES, config.bins, config.seed)?;
    let n_finalists = finalists.len();
    let mut ends = climbed_all(&finer, finalists)?;
    ends.sort_by(|a, b| b.end.after.normalized.total_cmp(&a.end.after.normalized));
    let Climbed { start, end } = ends.swap_remove(0);
    observe(second_mm, n_candidates + n_finalists, end.after.standing.value);
    let report = LevelReport {
        stage: Stage::Start,
        spacing_mm: second_mm,
        metric: Metric::MutualInformation,
        value_before: end.before.standing.value,
        value_after: end.after.standing.value,
        iterations: end.iterations,
        samples: finer.samples.len(),
    };
    Ok(Chosen { start, transform: end.map.to_transform()?, report })
}

/// The candidates that overlap, each after its own walk; at least one.
///
/// # Errors
/// [`RegisterError::NoOverlap`] if there are none.
fn climbed_all(level: &Level<'_>, candidates: Vec<Candidate>) -> Result<Vec<Climbed>, RegisterError> {
    let limits = WalkLimits {
        max_iterations: MAX_ITERATIONS,
        longest_step_mm: 1.5 * level.spacing_mm,
        tolerance_mm: 0.05 * level.spacing_mm,
        min_inside: level.min_inside(),
    };
    let tried: Vec<Result<Climbed, usize>> = candidates
        .into_par_iter()
        .map(|Candidate { start, transform }| {
            let mut information = level.information(super::MUTUAL);
            let map = CenteredMap::new(&transform, level.samples.center);
            let n_inside = information.evaluate(&map).standing.n_inside;
            if n_inside < limits.min_inside {
                return Err(n_inside);
            }
            let end = climb(&mut information, LinearModel::Rigid, map, &limits, &mut |_, _| {});
            Ok(Climbed { start, end })
        })
        .collect();
    let mut most_inside = 0;
    let mut ends = Vec::new();
    for result in tried {
        match result {
            Ok(end) => ends.push(end),
            Err(n_inside) => most_inside = most_inside.max(n_inside),
        }
    }
    if ends.is_empty() {
        super::require_overlap(level, most_inside)?;
    }
    Ok(ends)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The angle of a rotation, in degrees.
    fn angle_deg(matrix: &Matrix3) -> f64 {
        ((matrix.0[0][0] + matrix.0[1][1] + matrix.0[2][2] - 1.0) / 2.0).clamp(-1.0, 1.0).acos().to_degrees()
    }

    #[test]
    fn no_rotation_is_far_from_the_covering_ones() {
        let mut rotations = covering_rotations();
        rotations.push(Matrix3::IDENTITY);
        // Both groups hold the twelve rotations of the tetrahedron.
        assert_eq!(rotations.len(), 60 + 24 - 12);
        for matrix in &rotations {
            assert!((matrix.determinant() - 1.0).abs() < 1e-12);
        }
        for half_turn in [[1.0, -1.0, -1.0], [-1.0, 1.0, -1.0], [-1.0, -1.0, 1.0]] {
            let turn = Matrix3::diagonal(half_turn);
            assert!(rotations.iter().any(|matrix| angle_deg(&(*matrix * turn)) < 1e-5), "{half_turn:?}");
        }
        // Rotations by vectors on a grid that fills the ball of radius π.
        let mut farthest = 0.0_f64;
        let steps = || (-8..=8).map(|n| f64::from(n) * std::f64::consts::PI / 8.0);
        for x in steps() {
            for y in steps() {
                for z in steps() {
                    let turn = rotation([x, y, z]);
                    let nearest = rotations
                        .iter()
                        .map(|matrix| angle_deg(&(matrix.transposed() * turn)))
                        .fold(f64::INFINITY, f64::min);
                    farthest = farthest.max(nearest);
                }
            }
        }
        assert!(farthest < 45.0, "{farthest}°");
    }
}
