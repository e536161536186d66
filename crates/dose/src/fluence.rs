//! Photons per area at the isocenter.

use synthct_rt::{BeamAngles, Jaws, LeafPositions, Mlc, MlcAxis, Segment};

use crate::machine::Machine;
use crate::table::piecewise;

/// A map of primary fluence in the isocenter's plane, relative to the open axis, in beam coordinates.
///
/// Pixels are 1 mm; each holds the exact part of its area that is open.
#[derive(Clone, Debug, PartialEq)]
pub struct Fluence {
    /// The lower edge of the first pixel, x and y, mm.
    start_mm: [f64; 2],
    /// Pixels along x and y.
    size: [usize; 2],
    /// The sum of all pixels before (x, y), one more along each axis than there are pixels.
    sums: Vec<f64>,
}

impl Fluence {
    const PIXEL_MM: f64 = 1.0;
    /// How far the map reaches beyond the jaws' opening, mm.
    const MARGIN_MM: f64 = 60.0;

    /// The fluence behind jaws and leaves that stand still.
    ///
    /// Penumbra and head scatter are Gaussian; nothing models tongue and groove or the shape of leaf tips.
    pub fn new(machine: &Machine, jaws: &Jaws, leaves: Option<(&Mlc, &LeafPositions)>) -> Self {
        let segment = Segment {
            meterset_mu: 1.0,
            angles: BeamAngles { gantry_deg: 0.0, collimator_deg: 0.0, couch_deg: 0.0 },
            jaws: *jaws,
            leaves: leaves.map(|(_, leaves)| leaves.clone()),
            sweep: None,
        };
        Self::mean_of(machine, leaves.map(|(mlc, _)| mlc), &[segment])
    }

    /// The mean of the fluences of segments from one direction, each counted with its monitor units.
    ///
    /// Leaves that sweep are open over each pixel for the exact part of the segment in which they are.
    pub(crate) fn mean_of(machine: &Machine, mlc: Option<&Mlc>, segments: &[Segment]) -> Self {
        let spans = |of: fn(&Jaws) -> [f64; 2]| {
            segments
                .iter()
                .map(|s| of(&s.jaws))
                .fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], [a, b]| [low.min(a), high.max(b)])
        };
        let opening = [spans(|jaws| jaws.x_mm), spans(|jaws| jaws.y_mm)];
        let start_mm = opening.map(|[low, _]| (low - Self::MARGIN_MM).floor());
        let end_mm = opening.map(|[_, high]| (high + Self::MARGIN_MM).ceil());
        let size = [0, 1].map(|axis| ((end_mm[axis] - start_mm[axis]) / Self::PIXEL_MM) as usize);
        let [nx, ny] = size;
        let total_mu: f64 = segments.iter().map(|segment| segment.meterset_mu).sum();
        let mut values = vec![0.0; nx * ny];
        for segment in segments {
            let share = segment.meterset_mu / total_mu;
            let pixels = Pixels { start_mm, size };
            let between_leaves = mlc.and_then(|mlc| pixels.between_leaves(mlc, segment));
            let open_x = pixels.covered(0, segment.jaws.x_mm);
            let open_y = pixels.covered(1, segment.jaws.y_mm);
            for y in 0..ny {
                for x in 0..nx {
                    let in_jaws = open_x[x] * open_y[y];
                    // Jaws and leaves that cross within a pixel are taken to be independent there.
                    let between = between_leaves.as_ref().map_or(1.0, |between| between[y * nx + x].min(1.0));
                    let open = in_jaws * between;
                    values[y * nx + x] += share
                        * (open
                            + machine.leaf_transmission * (in_jaws - open)
                            + machine.jaw_transmission * (1.0 - in_jaws));
                }
            }
        }
        let sigma = |mm: f64| mm / Self::PIXEL_MM;
        let mut blurred = blur(&values, size, sigma(machine.source_sigma_mm));
        if machine.head_scatter_fraction > 0.0 {
            let scattered = blur(&values, size, sigma(machine.head_scatter_sigma_mm));
            for (value, scatter) in std::iter::zip(&mut blurred, scattered) {
                *value += machine.head_scatter_fraction * (scatter - *value);
            }
        }
        for y in 0..ny {
            for x in 0..nx {
                let center = |axis: usize, n: usize| start_mm[axis] + (n as f64 + 0.5) * Self::PIXEL_MM;
                let radius_mm = center(0, x).hypot(center(1, y));
                let [relative] = piecewise(&machine.off_axis, radius_mm, |&[mm, relative]| (mm, [relative]));
                blurred[y * nx + x] *= relative;
            }
        }
        Self::from_pixels(start_mm, size, &blurred)
    }

    fn from_pixels(start_mm: [f64; 2], size: [usize; 2], values: &[f64]) -> Self {
        let [nx, ny] = size;
        let mut sums = vec![0.0; (nx + 1) * (ny + 1)];
        for y in 0..ny {
            let mut row = 0.0;
            for x in 0..nx {
                row += values[y * nx + x];
                sums[(y + 1) * (nx + 1) + x + 1] = sums[y * (nx + 1) + x + 1] + row;
            }
        }
        Self { start_mm, size, sums }
    }

    /// The mean over a square of `2 half_mm` around a point of the isocenter's plane; zero beyond the map.
    pub(crate) fn mean_around(&self, [x_mm, y_mm]: [f64; 2], half_mm: f64) -> f64 {
        let pixel = |axis: usize, mm: f64| {
            ((mm - self.start_mm[axis]) / Self::PIXEL_MM).clamp(0.0, self.size[axis] as f64)
        };
        let (x0, x1) = (pixel(0, x_mm - half_mm), pixel(0, x_mm + half_mm));
        let (y0, y1) = (pixel(1, y_mm - half_mm), pixel(1, y_mm + half_mm));
        let sum = self.sum_before(x1, y1) - self.sum_before(x0, y1) - self.sum_before(x1, y0)
            + self.sum_before(x0, y0);
        sum * (Self::PIXEL_MM / (2.0 * half_mm)).powi(2)
    }

    /// The extent along x and y, mm.
    pub(crate) fn extent_mm(&self) -> [[f64; 2]; 2] {
        [0, 1]
            .map(|axis| [self.start_mm[axis], self.start_mm[axis] + self.size[axis] as f64 * Self::PIXEL_MM])
    }

    /// The area that would give as much at a fluence of 1, cm², each point counted with a weight.
    pub(crate) fn area_cm2(&self, weight: impl Fn([f64; 2]) -> f64) -> f64 {
        let [nx, ny] = self.size;
        let sum: f64 = (0..ny)
            .flat_map(|y| (0..nx).map(move |x| (x, y)))
            .map(|(x, y)| {
                let center = |axis: usize, n: usize| self.start_mm[axis] + (n as f64 + 0.5) * Self::PIXEL_MM;
                let at = |x: usize, y: usize| self.sums[y * (nx + 1) + x];
                let value = at(x + 1, y + 1) - at(x, y + 1) - at(x + 1, y) + at(x, y);
                value * weight([center(0, x), center(1, y)])
            })
            .sum();
        sum * (0.1 * Self::PIXEL_MM).powi(2)
    }

    /// The point of the isocenter's plane, in mm, below whose y lies the second part of all fluence, and below whose x the
    /// first part of that in its row of pixels: parts that are uniform in [0, 1) give points as dense as the fluence.
    pub(crate) fn at_parts(&self, parts: [f64; 2]) -> [f64; 2] {
        let [nx, ny] = self.size;
        // The pixel in which a rising sum from 0 reaches a part of its end, and how far in it.
        let find = |n: usize, part: f64, sum: &dyn Fn(usize) -> f64| {
            let wanted = part * sum(n);
            let (mut low, mut high) = (0, n);
            while high - low > 1 {
                let middle = usize::midpoint(low, high);
                if sum(middle) <= wanted { low = middle } else { high = middle }
            }
            let (before, after) = (sum(low), sum(low + 1));
            let within = if after > before { (wanted - before) / (after - before) } else { 0.5 };
            (low, within.clamp(0.0, 1.0))
        };
        let (y, within_y) = find(ny, parts[1], &|row| self.sums[row * (nx + 1) + nx]);
        let (below, above) = (y * (nx + 1), (y + 1) * (nx + 1));
        let (x, within_x) =
            find(nx, parts[0], &|column| self.sums[above + column] - self.sums[below + column]);
        [
            self.start_mm[0] + (x as f64 + within_x) * Self::PIXEL_MM,
            self.start_mm[1] + (y as f64 + within_y) * Self::PIXEL_MM,
        ]
    }

    fn sum_before(&self, x: f64, y: f64) -> f64 {
        let [nx, ny] = self.size;
        let (x0, y0) = ((x as usize).min(nx - 1), (y as usize).min(ny - 1));
        let (u, v) = (x - x0 as f64, y - y0 as f64);
        let at = |x: usize, y: usize| self.sums[y * (nx + 1) + x];
        let low = at(x0, y0) + u * (at(x0 + 1, y0) - at(x0, y0));
        let high = at(x0, y0 + 1) + u * (at(x0 + 1, y0 + 1) - at(x0, y0 + 1));
        low + v * (high - low)
    }
}

/// The pixels of a map.
struct Pixels {
    start_mm: [f64; 2],
    size: [usize; 2],
}

impl Pixels {
    /// The part of each pixel along an axis that lies between two edges.
    fn covered(&self, axis: usize, [low, high]: [f64; 2]) -> Vec<f64> {
        (0..self.size[axis])
            .map(|n| {
                let from = self.start_mm[axis] + n as f64 * Fluence::PIXEL_MM;
                ((high.min(from + Fluence::PIXEL_MM) - low.max(from)) / Fluence::PIXEL_MM).max(0.0)
            })
            .collect()
    }

    /// The same for edges that move evenly from one pair of places to another: the mean over the time.
    ///
    /// The open part below a place x is ∫ max(0, x − low) − max(0, x − high) dt, of which pixels have the differences.
    fn swept(&self, axis: usize, [low, high]: [[f64; 2]; 2]) -> Vec<f64> {
        let below = |x: f64, [begin, end]: [f64; 2]| {
            let (a, b) = ((x - begin).max(0.0), (x - end).max(0.0));
            let travel = end - begin;
            // Edges that hardly move would lose all digits in the quotient.
            if travel.abs() < 1e-6 { 0.5 * (a + b) } else { 0.5 * (a * a - b * b) / travel }
        };
        let open_below = |x: f64| below(x, low) - below(x, high);
        (0..self.size[axis])
            .map(|n| {
                let from = self.start_mm[axis] + n as f64 * Fluence::PIXEL_MM;
                ((open_below(from + Fluence::PIXEL_MM) - open_below(from)) / Fluence::PIXEL_MM).max(0.0)
            })
            .collect()
    }

    /// The part of each pixel that lies between the leaves, row after row.
    fn between_leaves(&self, mlc: &Mlc, segment: &Segment) -> Option<Vec<f64>> {
        let leaves = segment.leaves.as_ref()?;
        let [nx, ny] = self.size;
        let mut between = vec![0.0; nx * ny];
        // `along` is the direction of travel.
        let (along, across) = if mlc.axis == MlcAxis::X { (0, 1) } else { (1, 0) };
        for (pair, edges) in mlc.boundaries_mm.windows(2).enumerate() {
            let open = match &segment.sweep {
                None => {
                    self.covered(along, [leaves.low_mm[pair], leaves.high_mm[pair].max(leaves.low_mm[pair])])
                }
                Some([begin, end]) => {
                    let low = [begin.low_mm[pair], end.low_mm[pair]];
                    let high = [begin.high_mm[pair].max(low[0]), end.high_mm[pair].max(low[1])];
                    self.swept(along, [low, high])
                }
            };
            for (a, share) in self.covered(across, [edges[0], edges[1]]).into_iter().enumerate() {
                if share > 0.0 {
                    for (t, open) in open.iter().enumerate() {
                        let at = if along == 0 { a * nx + t } else { t * nx + a };
                        between[at] += share * open;
                    }
                }
            }
        }
        Some(between)
    }
}

/// A Gaussian blur, separable, with what lies beyond the edges held.
fn blur(values: &[f64], [nx, ny]: [usize; 2], sigma: f64) -> Vec<f64> {
    if sigma <= 0.0 {
        return values.to_vec();
    }
    let reach = (4.0 * sigma).ceil() as i64;
    let weights: Vec<f64> = (-reach..=reach).map(|n| (-0.5 * (n as f64 / sigma).powi(2)).exp()).collect();
    let total: f64 = weights.iter().sum();
    let along = |values: &[f64], n: usize, stride: usize, start: usize, out: &mut [f64]| {
        for at in 0..n {
            let sum: f64 = weights
                .iter()
                .enumerate()
                .map(|(w, weight)| {
                    let from = (at as i64 + w as i64 - reach).clamp(0, n as i64 - 1) as usize;
                    weight * values[start + from * stride]
                })
                .sum();
            out[start + at * stride] = sum / total;
        }
    };
    let mut rows = vec![0.0; values.len()];
    for y in 0..ny {
        along(values, nx, 1, y * nx, &mut rows);
    }
    let mut both = vec![0.0; values.len()];
    for x in 0..nx {
        along(&rows, ny, nx, x, &mut both);
    }
    both
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jaws(x_mm: [f64; 2], y_mm: [f64; 2]) -> Jaws {
        Jaws { x_mm, y_mm }
    }

    #[test]
    fn coverage_is_exact() {
        let machine = Machine::point_source_6mv();
        let fluence = Fluence::new(&machine, &jaws([-10.3, 20.0], [-5.5, 5.25]), None);
        // A square that holds the whole field gives its area.
        let area = fluence.mean_around([4.85, 0.0], 40.0) * 6400.0;
        assert!((area - 30.3 * 10.75).abs() < 1e-9, "{area}");
        assert!((fluence.mean_around([0.0, 0.0], 2.5) - 1.0).abs() < 1e-12);
        assert!(fluence.mean_around([500.0, 0.0], 2.5).abs() < 1e-12);
        // Half of a square across an edge.
        assert!((fluence.mean_around([20.0, 0.0], 2.0) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn leaves_of_either_axis_shape_the_field() {
        let machine =
            Machine { leaf_transmission: 0.02, jaw_transmission: 0.01, ..Machine::point_source_6mv() };
        let leaves = LeafPositions { low_mm: vec![-10.0, 0.0], high_mm: vec![5.0, 20.0] };
        let mlc = |axis: MlcAxis| Mlc { axis, boundaries_mm: vec![-10.0, 0.0, 10.0] };
        let open = jaws([-30.0, 30.0], [-30.0, 30.0]);
        let along_x = Fluence::new(&machine, &open, Some((&mlc(MlcAxis::X), &leaves)));
        let along_y = Fluence::new(&machine, &open, Some((&mlc(MlcAxis::Y), &leaves)));
        for ([x, y], expected) in [
            ([-5.0, -5.0], 1.0),
            ([10.0, -5.0], 0.02),
            ([10.0, 5.0], 1.0),
            ([-5.0, 5.0], 0.02),
            ([0.0, 20.0], 0.02),
            ([0.0, 45.0], 0.01),
        ] {
            for (fluence, at) in [(&along_x, [x, y]), (&along_y, [y, x])] {
                let found = fluence.mean_around(at, 1.0);
                assert!((found - expected).abs() < 1e-9, "{at:?}: {found} instead of {expected}");
            }
        }
    }

    /// A gap of 10 mm that sweeps over 40 mm while a jaw cuts it, against many gaps that stand still.
    #[test]
    fn a_sweep_is_the_mean_of_its_moments() {
        let machine = Machine { leaf_transmission: 0.02, ..Machine::point_source_6mv() };
        let leaves =
            |at: f64| LeafPositions { low_mm: vec![at, at - 7.3], high_mm: vec![at + 10.0, at + 0.7 * at] };
        let mlc = Mlc { axis: MlcAxis::Y, boundaries_mm: vec![-10.0, 0.25, 10.0] };
        let angles = BeamAngles { gantry_deg: 10.0, collimator_deg: 0.0, couch_deg: 0.0 };
        let jaws = jaws([-8.0, 9.0], [-12.0, 33.0]);
        let moment = |meterset_mu: f64, at: f64, sweep: Option<[LeafPositions; 2]>| Segment {
            meterset_mu,
            angles,
            jaws,
            leaves: Some(leaves(at)),
            sweep,
        };
        let swept =
            Fluence::mean_of(&machine, Some(&mlc), &[moment(3.0, 20.0, Some([leaves(0.0), leaves(40.0)]))]);
        let n = 4000;
        let moments: Vec<Segment> =
            (0..n).map(|m| moment(0.7, 40.0 * (f64::from(m) + 0.5) / f64::from(n), None)).collect();
        let stepped = Fluence::mean_of(&machine, Some(&mlc), &moments);
        assert_eq!(swept.size, stepped.size);
        let worst =
            std::iter::zip(&swept.sums, &stepped.sums).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        // Each step is 0.01 mm, and the sums run over 45 rows of 17 mm.
        assert!(worst < 0.05, "{worst}");
        let at = |y: f64| swept.mean_around([-4.0, y], 0.5);
        // Under the first pair a gap of 10 mm passes in 40 mm: a quarter of the time.
        assert!((at(20.0) - (0.25 + 0.02 * 0.75)).abs() < 1e-12, "{}", at(20.0));
        assert!((at(-6.0) - 0.02).abs() < 1e-12, "{}", at(-6.0));
    }

    #[test]
    fn a_source_of_finite_size_blurs_the_edge() {
        let machine = Machine { source_sigma_mm: 2.0, ..Machine::point_source_6mv() };
        let fluence = Fluence::new(&machine, &jaws([-30.0, 30.0], [-30.0, 30.0]), None);
        // One standard deviation inside and outside of the edge: 84 % and 16 %.
        for (x, expected) in [(28.0, 0.8413), (30.0, 0.5), (32.0, 0.1587)] {
            let found = fluence.mean_around([x, 0.0], 0.5);
            assert!((found - expected).abs() < 0.01, "{x} mm: {found} instead of {expected}");
        }
    }
}
