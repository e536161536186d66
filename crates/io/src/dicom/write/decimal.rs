//! Decimal strings (DS): numbers in 16 characters at most (PS3.5 section 6.2).

/// The most characters of a decimal string.
const MOST: usize = 16;

/// The decimal string that comes nearest to a finite number.
pub(super) fn decimal(value: f64) -> String {
    debug_assert!(value.is_finite(), "a decimal string is a number");
    let shortest = format!("{value}");
    if shortest.len() <= MOST {
        return if shortest == "-0" { "0".to_owned() } else { shortest };
    }
    let fixed = (0..=MOST).rev().map(|digits| format!("{value:.digits$}"));
    let scientific = (0..=MOST).rev().map(|digits| format!("{value:.digits$e}"));
    let nearest =
        [fixed.into_iter().find(|text| text.len() <= MOST), scientific.into_iter().find(|t| t.len() <= MOST)]
            .into_iter()
            .flatten()
            .min_by(|a, b| off(a, value).total_cmp(&off(b, value)));
    nearest.expect("because one digit and an exponent of three fit into 16 characters")
}

/// Several numbers as one value.
pub(super) fn decimals(values: &[f64]) -> String {
    values.iter().map(|&value| decimal(value)).collect::<Vec<_>>().join("\\")
}

fn off(text: &str, value: f64) -> f64 {
    text.parse::<f64>().map_or(f64::INFINITY, |parsed| (parsed - value).abs())
}

#[cfg(test)]
mod tests {
    use super::decimal;

    #[track_caller]
    fn check(value: f64, expected: &str) {
        assert_eq!(decimal(value), expected);
    }

    #[test]
    fn numbers_fit_and_come_as_near_as_they_can() {
        check(0.0, "0");
        check(-0.0, "0");
        check(2.5, "2.5");
        check(-202.4149, "-202.4149");
        check(std::f64::consts::PI, "3.14159265358979");
        check(-std::f64::consts::FRAC_1_SQRT_2, "-0.7071067811865");
        check(1.0 / 3.0 * 1e-8, "3.33333333333e-9");
        check(-1.0 / 3.0 * 1e-300, "-3.33333333e-301");
        check(1e300 / 3.0, "3.3333333333e299");
        let mut seed = 7_u64;
        for _ in 0..10_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let value = f64::from_bits(seed);
            if !value.is_finite() {
                continue;
            }
            let text = decimal(value);
            let back: f64 = text.parse().expect("a number");
            assert!(text.len() <= 16 && ((back - value) / value).abs() < 1e-7, "{value}: {text}");
        }
    }
}
