//! Unit vectors and turning them.

use super::stream::Stream;

/// A unit vector turned by a polar angle whose (1 - cos θ)/2 is `half_versine`, into an azimuth of given cosine and sine.
///
/// Small angles keep their digits, since 1 - cos θ is given rather than cos θ.
pub(super) fn turned([u, v, w]: [f64; 3], half_versine: f64, [cos, sin]: [f64; 2]) -> [f64; 3] {
    let cosine = 1.0 - 2.0 * half_versine;
    let sine = 2.0 * (half_versine * (1.0 - half_versine)).max(0.0).sqrt();
    let (a, b) = (sine * cos, sine * sin);
    let across2 = u * u + v * v;
    let turned = if across2 > 1e-12 {
        let across = across2.sqrt();
        [
            u * cosine + (u * w * a - v * b) / across,
            v * cosine + (v * w * a + u * b) / across,
            w * cosine - across * a,
        ]
    } else {
        [a, b, w.signum() * cosine]
    };
    // Rounding would grow over thousands of turns; one step of Newton's takes it away.
    let scale = 1.5 - 0.5 * turned.iter().map(|x| x * x).sum::<f64>();
    turned.map(|x| x * scale)
}

/// Cosine and sine of a uniform azimuth.
pub(super) fn azimuth(stream: &mut Stream) -> [f64; 2] {
    // Two numbers in a disc have a uniform direction, without a sine.
    loop {
        let (x, y) = (2.0 * stream.uniform() - 1.0, 2.0 * stream.uniform() - 1.0);
        let square = x * x + y * y;
        if square <= 1.0 && square > 1e-12 {
            let scale = 1.0 / square.sqrt();
            return [x * scale, y * scale];
        }
    }
}

/// A direction without preference.
pub(super) fn isotropic(stream: &mut Stream) -> [f64; 3] {
    let half_versine = stream.uniform();
    turned([0.0, 0.0, 1.0], half_versine, azimuth(stream))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_turn_by_the_angle_and_stay_units() {
        let mut stream = Stream::of_history(1, 1);
        for n in 0..1000 {
            let start = match n {
                0 => [0.0, 0.0, 1.0],
                1 => [0.0, 0.0, -1.0],
                _ => isotropic(&mut stream),
            };
            let half_versine = stream.uniform().powi(4);
            let end = turned(start, half_versine, azimuth(&mut stream));
            let dot: f64 = std::iter::zip(start, end).map(|(a, b)| a * b).sum();
            assert!((dot - (1.0 - 2.0 * half_versine)).abs() < 1e-12, "{start:?} {end:?}");
            assert!((end.iter().map(|x| x * x).sum::<f64>() - 1.0).abs() < 1e-12);
        }
    }
}
