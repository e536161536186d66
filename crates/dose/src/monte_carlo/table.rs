//! Functions of energy, read without a logarithm.

/// `N` functions of energy for each of `M` tissues, at points that lie evenly within each doubling of energy, linear
/// between them. What is read together lies together.
#[derive(Clone, Debug)]
pub(super) struct EnergyTable<const N: usize, const M: usize> {
    rows: Vec<[[f32; N]; M]>,
}

/// Points in each doubling of energy: 2 to this power.
const POINTS_LOG2: u32 = 6;
/// Bits of an `f64` below those that name the row.
const REST: u32 = 52 - POINTS_LOG2;

/// The lowest energy of the tables, MeV.
pub(super) const LOWEST_MEV: f64 = 1.0 / 64.0;
/// The energy below which the tables end, MeV.
pub(super) const HIGHEST_MEV: f64 = 16.0;

/// A row of the tables, and how far the energy lies towards the next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Position {
    row: usize,
    part: f32,
}

/// Where an energy lies in every table; it must be at least [`LOWEST_MEV`] and less than [`HIGHEST_MEV`].
#[inline]
pub(super) fn locate(energy_mev: f64) -> Position {
    const FIRST: u64 = LOWEST_MEV.to_bits() >> REST;
    const SCALE: f32 = 1.0 / (1_u64 << REST) as f32;
    let bits = energy_mev.to_bits();
    Position { row: ((bits >> REST) - FIRST) as usize, part: (bits & ((1 << REST) - 1)) as f32 * SCALE }
}

/// The energies of all rows, MeV.
fn energies_mev() -> impl Iterator<Item = f64> {
    let first = LOWEST_MEV.to_bits() >> REST;
    let last = HIGHEST_MEV.to_bits() >> REST;
    (first..=last).map(|row| f64::from_bits(row << REST))
}

impl<const N: usize, const M: usize> EnergyTable<N, M> {
    /// The table of the functions of each tissue.
    pub(super) fn new(value: impl Fn(usize, f64) -> [f64; N]) -> Self {
        let row = |energy: f64| std::array::from_fn(|tissue| value(tissue, energy).map(|value| value as f32));
        Self { rows: energies_mev().map(row).collect() }
    }

    /// All functions of a mixture of a tissue and the next one.
    #[inline]
    pub(super) fn mixed(&self, position: Position, (tissue, part): (usize, f32)) -> [f32; N] {
        let (low, high) = (&self.rows[position.row], &self.rows[position.row + 1]);
        let (a, b, c, d) = (&low[tissue], &high[tissue], &low[tissue + 1], &high[tissue + 1]);
        std::array::from_fn(|n| {
            let first = a[n] + position.part * (b[n] - a[n]);
            let second = c[n] + position.part * (d[n] - c[n]);
            first + part * (second - first)
        })
    }

    /// One of the functions of a tissue.
    #[inline]
    pub(super) fn one(&self, position: Position, tissue: usize, n: usize) -> f32 {
        let (low, high) = (self.rows[position.row][tissue][n], self.rows[position.row + 1][tissue][n]);
        low + position.part * (high - low)
    }
}

/// A function given at rising points, straight in logarithms between them, zero where a neighbour is zero.
pub(super) fn log_log(points: &[[f64; 2]], x: f64) -> f64 {
    let high = points.partition_point(|point| point[0] <= x).clamp(1, points.len() - 1);
    let ([x0, y0], [x1, y1]) = (points[high - 1], points[high]);
    if y0 <= 0.0 || y1 <= 0.0 {
        return 0.0;
    }
    let part = (x / x0).ln() / (x1 / x0).ln();
    (y0.ln() + part * (y1 / y0).ln()).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smooth_functions_come_back() {
        let table: EnergyTable<3, 2> = EnergyTable::new(|tissue, energy| match tissue {
            0 => [energy, energy.powi(-3), 1.0],
            _ => [2.0 * energy, energy.powi(-3), 3.0],
        });
        for energy in [LOWEST_MEV, 0.02, 0.1, 0.511, 1.0, 1.999, 2.0, 5.99, 15.999] {
            let [line, power, one] = table.mixed(locate(energy), (0, 0.0)).map(f64::from);
            assert!((line / energy - 1.0).abs() < 1e-6, "{energy}: {line}");
            // At most f'' h²/8 for steps of 1/64.
            assert!((power * energy.powi(3) - 1.0).abs() < 4e-4, "{energy}: {power}");
            assert!((one - 1.0).abs() < 1e-6);
            assert!((table.one(locate(energy), 0, 0) - line as f32).abs() < 1e-6);
            let [line, _, two] = table.mixed(locate(energy), (0, 0.5)).map(f64::from);
            assert!((line / energy - 1.5).abs() < 1e-6 && (two - 2.0).abs() < 1e-6);
        }
        let points = [[1.0, 2.0], [2.0, 16.0], [4.0, 0.0]];
        assert!((log_log(&points, 1.5) - 2.0 * 1.5_f64.powi(3)).abs() < 1e-12);
        assert!(log_log(&points, 3.0).abs() < 1e-12);
    }
}
