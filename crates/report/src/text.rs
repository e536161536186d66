//! Numbers and text as a page shows them.

/// The text with the characters that mean something in HTML replaced.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(character),
        }
    }
    out
}

/// The number with a true minus sign, never "−0".
pub(crate) fn number(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    match text.strip_prefix('-') {
        Some(digits) if digits.chars().all(|c| c == '0' || c == '.') => digits.to_owned(),
        Some(digits) => format!("−{digits}"),
        None => text,
    }
}

/// About `wanted` round numbers from `lower` to `upper`, and the decimals they need.
pub(crate) fn round_ticks(lower: f64, upper: f64, wanted: usize) -> (Vec<f64>, usize) {
    let span = upper - lower;
    if !(span.is_finite() && span > 0.0) {
        return (vec![lower], 0);
    }
    let raw = span / wanted.max(1) as f64;
    let power = raw.log10().floor();
    let base = 10_f64.powf(power);
    // The step nearest to the wanted one, but rather one that puts ticks on both ends of the range.
    let cost = |factor: &f64| {
        let step = factor * base;
        let on_ends = [lower, upper].iter().all(|end| (end / step - (end / step).round()).abs() < 1e-6);
        (step / raw).ln().abs() - if on_ends { 0.4 } else { 0.0 }
    };
    let factor = [1.0, 2.0, 2.5, 5.0, 10.0]
        .into_iter()
        .min_by(|a, b| cost(a).total_cmp(&cost(b)))
        .expect("because there are candidates");
    let step = factor * base;
    let decimals = if step >= 1.0 && step.fract().abs() < 1e-9 {
        0
    } else {
        let for_step = (-power).max(0.0) as usize;
        // 2.5 × 10ⁿ needs one digit more than its power of ten; 10 × 10ⁿ one less.
        if (factor - 2.5).abs() < 0.01 {
            for_step + 1
        } else if factor > 9.0 {
            for_step.saturating_sub(1)
        } else {
            for_step
        }
    };
    let first = (lower / step - 1e-9).ceil() as i64;
    let last = (upper / step + 1e-9).floor() as i64;
    ((first..=last).map(|n| n as f64 * step).collect(), decimals)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        #[track_caller]
        fn check(lower: f64, upper: f64, wanted: usize, expected: &[&str]) {
            let (ticks, decimals) = round_ticks(lower, upper, wanted);
            let texts: Vec<String> = ticks.iter().map(|&tick| number(tick, decimals)).collect();
            assert_eq!(texts, expected);
        }
        check(-500.0, 500.0, 4, &["−500", "−250", "0", "250", "500"]);
        check(0.0, 1.0, 5, &["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        check(250.0, 1500.0, 6, &["250", "500", "750", "1000", "1250", "1500"]);
        check(0.71, 0.98, 5, &["0.75", "0.80", "0.85", "0.90", "0.95"]);
        check(-160.0, 240.0, 4, &["−100", "0", "100", "200"]);
        check(0.0, 0.04, 4, &["0.00", "0.01", "0.02", "0.03", "0.04"]);
    }

    #[test]
    fn minus_signs_and_markup() {
        assert_eq!(number(-0.04, 1), "0.0");
        assert_eq!(number(-12.25, 1), "−12.2");
        assert_eq!(escaped("<a href=\"x\">'&'</a>"), "&lt;a href=&quot;x&quot;&gt;&#39;&amp;&#39;&lt;/a&gt;");
    }
}
