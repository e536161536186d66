//! The adaptive contexts of JPEG-LS: prediction errors, Golomb codes and runs (annex A of ISO/IEC 14495-1).

use super::bits::Bits;

/// The parameters of a scan and what follows from them (clauses A.2.1 and C.2.4.1.1).
#[derive(Clone, Copy, Debug)]
pub(super) struct Coding {
    near: i32,
    max_value: i32,
    thresholds: [i32; 3],
    reset: i32,
    /// The number of different prediction errors.
    range: i32,
    /// Bits of a prediction error that is written plainly.
    q_bits: u32,
    /// The longest Golomb code.
    limit: u32,
}

impl Coding {
    pub(super) fn new(
        precision: u8,
        near: u8,
        max_value: u16,
        thresholds: [u16; 3],
        reset: u16,
    ) -> Result<Self, String> {
        let largest = (1 << precision) - 1;
        let max_value = if max_value == 0 { largest } else { i32::from(max_value) };
        let near = i32::from(near);
        if max_value > largest || near > (max_value / 2).min(255) {
            return Err(format!(
                "JPEG-LS MAXVAL = {max_value} and NEAR = {near} do not fit {precision} bits a sample"
            ));
        }
        let reset = if reset == 0 { 64 } else { i32::from(reset) };
        let mut chosen = default_thresholds(max_value, near);
        for (chosen, given) in std::iter::zip(&mut chosen, thresholds) {
            if given != 0 {
                *chosen = i32::from(given);
            }
        }
        let [t1, t2, t3] = chosen;
        if !(near < t1 && t1 <= t2 && t2 <= t3 && t3 <= max_value && reset >= 3) {
            return Err(format!("JPEG-LS thresholds {chosen:?} or RESET = {reset} are outside their limits"));
        }
        let range = (max_value + 2 * near) / (2 * near + 1) + 1;
        let bits = bits_for(max_value + 1).max(2);
        Ok(Self {
            near,
            max_value,
            thresholds: chosen,
            reset,
            range,
            q_bits: bits_for(range),
            limit: 2 * (bits + bits.max(8)),
        })
    }

    /// A gradient's class, −4 to 4 (clause A.3.3).
    pub(super) fn quantized(&self, gradient: i32) -> i32 {
        let size = gradient.abs();
        let [t1, t2, t3] = self.thresholds;
        let class = i32::from(size > self.near)
            + i32::from(size >= t1)
            + i32::from(size >= t2)
            + i32::from(size >= t3);
        if gradient < 0 { -class } else { class }
    }

    /// A sample from its prediction and its error (clause A.4.5).
    fn reconstructed(&self, prediction: i32, error: i32) -> i32 {
        let step = 2 * self.near + 1;
        let mut sample = prediction + error * step;
        if sample < -self.near {
            sample += self.range * step;
        } else if sample > self.max_value + self.near {
            sample -= self.range * step;
        }
        sample.clamp(0, self.max_value)
    }

    /// A mapped error with Golomb parameter `k` in at most `limit` bits (clause A.5.3).
    fn mapped_error(&self, bits: &mut Bits, k: u32, limit: u32) -> Option<i32> {
        let longest = limit.checked_sub(self.q_bits + 1)?;
        let n_zeros = bits.zeros(longest)?;
        let mapped = if n_zeros < longest {
            i64::from(n_zeros) << k | i64::from(bits.read(k)?)
        } else {
            i64::from(bits.read(self.q_bits)?) + 1
        };
        // A mapped error is less than the range, or one more in a run's interruption; this keeps sums small.
        (mapped <= 2 * i64::from(self.range)).then_some(mapped as i32)
    }
}

/// ⌈log₂ n⌉.
fn bits_for(n: i32) -> u32 {
    (n - 1).checked_ilog2().map_or(0, |log| log + 1)
}

fn default_thresholds(max_value: i32, near: i32) -> [i32; 3] {
    let basic = [3, 7, 21];
    let mut thresholds = if max_value >= 128 {
        let factor = (max_value.min(4095) + 128) / 256;
        [factor + 2 + 3 * near, factor * 4 + 3 + 5 * near, factor * 17 + 4 + 7 * near]
    } else {
        let factor = 256 / (max_value + 1);
        [0, 1, 2].map(|n| (basic[n] / factor + (2 * n as i32 + 3) * near).max(n as i32 + 2))
    };
    // Each below the next and not above the largest value; otherwise the least allowed.
    let mut least = near + 1;
    for threshold in &mut thresholds {
        if *threshold < least || *threshold > max_value {
            *threshold = least;
        }
        least = *threshold;
    }
    thresholds
}

/// A context of the regular mode (clauses A.4 to A.6).
#[derive(Clone, Copy, Debug)]
pub(super) struct Regular {
    /// Sum of error sizes.
    a: i64,
    /// Sum of errors.
    b: i32,
    /// Correction of the prediction.
    c: i32,
    /// Number of samples.
    n: i32,
}

impl Regular {
    /// Indices up to 81·4 + 9·4 + 4; the zeroth stays unused.
    pub(super) const N_CONTEXTS: usize = 365;

    pub(super) fn new(coding: &Coding) -> Self {
        Self { a: initial_a(coding), b: 0, c: 0, n: 1 }
    }

    /// The next sample, whose gradients were mirrored if `is_negative`.
    pub(super) fn sample(
        &mut self,
        coding: &Coding,
        bits: &mut Bits,
        is_negative: bool,
        prediction: i32,
    ) -> Option<i32> {
        let sign = if is_negative { -1 } else { 1 };
        let prediction = (prediction + sign * self.c).clamp(0, coding.max_value);
        let k = golomb_parameter(self.n, self.a);
        let mapped = coding.mapped_error(bits, k, coding.limit)?;
        let mut error = if mapped % 2 == 0 { mapped / 2 } else { -(mapped + 1) / 2 };
        if coding.near == 0 && k == 0 && 2 * self.b <= -self.n {
            error = -error - 1;
        }
        self.update(coding, error);
        Some(coding.reconstructed(prediction, sign * error))
    }

    fn update(&mut self, coding: &Coding, error: i32) {
        self.a += i64::from(error.abs());
        self.b += error * (2 * coding.near + 1);
        if self.n == coding.reset {
            self.a >>= 1;
            self.b >>= 1;
            self.n >>= 1;
        }
        self.n += 1;
        if self.b <= -self.n {
            self.b = (self.b + self.n).max(1 - self.n);
            self.c = (self.c - 1).max(-128);
        } else if self.b > 0 {
            self.b = (self.b - self.n).min(0);
            self.c = (self.c + 1).min(127);
        }
    }
}

/// `J`: the logarithms of run lengths (clause A.2.1).
const RUN_BITS: [u32; 32] =
    [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// The state of the run mode (clause A.7).
pub(super) struct Run {
    /// `RUNindex`.
    index: usize,
    /// The contexts of interruptions: left and above differ, or are near to each other.
    interruptions: [Interruption; 2],
}

#[derive(Clone, Copy, Debug)]
struct Interruption {
    a: i64,
    n: i32,
    /// Number of negative errors.
    n_negative: i32,
}

impl Run {
    pub(super) fn new(coding: &Coding) -> Self {
        let interruption = Interruption { a: initial_a(coding), n: 1, n_negative: 0 };
        Self { index: 0, interruptions: [interruption; 2] }
    }

    /// The number of samples in the run; `n_left` of them end the line. None if there would be more.
    pub(super) fn length(&mut self, bits: &mut Bits, n_left: usize) -> Option<usize> {
        let mut n = 0;
        while bits.read(1)? == 1 {
            let step = 1 << RUN_BITS[self.index];
            if step <= n_left - n {
                n += step;
                self.index = (self.index + 1).min(RUN_BITS.len() - 1);
            } else {
                n = n_left;
            }
            if n == n_left {
                return Some(n);
            }
        }
        n += bits.read(RUN_BITS[self.index])? as usize;
        // The rest of a line would have been written as a run to its end.
        (n < n_left).then_some(n)
    }

    /// The sample that ends a run of `left` samples, with `above` over it.
    pub(super) fn interruption(
        &mut self,
        coding: &Coding,
        bits: &mut Bits,
        left: i32,
        above: i32,
    ) -> Option<i32> {
        let is_near = (left - above).abs() <= coding.near;
        let context = &mut self.interruptions[usize::from(is_near)];
        let kind = i32::from(is_near);
        let temp = if is_near { context.a + i64::from(context.n >> 1) } else { context.a };
        let k = golomb_parameter(context.n, temp);
        let limit = coding.limit - RUN_BITS[self.index] - 1;
        let mapped = coding.mapped_error(bits, k, limit)?;
        self.index = self.index.saturating_sub(1);

        // Clause A.7.2.2: EMErrval = 2·|Errval| − RItype − map.
        let doubled = mapped + kind;
        let map = doubled & 1;
        let size = i32::midpoint(doubled, map);
        let is_positive_mapped = k != 0 || 2 * context.n_negative >= context.n;
        let error = if is_positive_mapped == (map == 1) { -size } else { size };
        if error < 0 {
            context.n_negative += 1;
        }
        context.a += i64::from((mapped + 1 - kind) >> 1);
        if context.n == coding.reset {
            context.a >>= 1;
            context.n >>= 1;
            context.n_negative >>= 1;
        }
        context.n += 1;

        let (prediction, sign) = if is_near { (left, 1) } else { (above, if left > above { -1 } else { 1 }) };
        Some(coding.reconstructed(prediction, sign * error))
    }
}

fn initial_a(coding: &Coding) -> i64 {
    i64::from(((coding.range + 32) >> 6).max(2))
}

/// The least k with `n`·2ᵏ ≥ `a`.
fn golomb_parameter(n: i32, a: i64) -> u32 {
    let mut k = 0;
    while i64::from(n) << k < a {
        k += 1;
    }
    k
}
