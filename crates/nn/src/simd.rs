//! Vectors of `f32` for the widest instruction set this processor has, chosen at run time.
//!
//! This is the only module of the workspace that may use `unsafe` on the CPU. It is sound for two reasons that can be
//! checked here alone (for matrix tiles, in `amx`):
//!
//! 1. A value of [`Avx512`] or [`Avx2`] is the proof that the processor has those instructions: the types have a
//!    private field, and [`dispatch`] makes them only after `is_x86_feature_detected!` said yes. Every intrinsic
//!    is called in a method that takes such a value.
//! 2. Loads and stores first cut the slice to the vector's length, which checks the bounds.
//!
//! The methods are `#[inline(always)]` so that they end up inside the function that carries the
//! `#[target_feature]` attribute; a kernel must therefore be `#[inline(always)]` down to the last call and must
//! not use vectors inside closures.
#![expect(
    clippy::inline_always,
    reason = "vector code must be inlined into the function that enables the instructions"
)]
#![expect(unsafe_code, reason = "the audited module: vector intrinsics behind run-time detection")]

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod amx;
pub(crate) mod tiles;

use crate::kernels::element::Element;

/// Lanes of the widest vector; rows are padded to a multiple of it, whatever the processor.
pub(crate) const MAX_LANES: usize = 16;

/// A set of vector instructions; a value of the type proves that the processor has them.
pub(crate) trait Simd: Copy {
    /// Floats in a vector.
    const LANES: usize;
    /// Vector registers of the instruction set, which bound the size of a register tile.
    const REGISTERS: usize;
    /// The vector.
    type Vector: Copy;

    /// All lanes zero.
    fn zero(self) -> Self::Vector;
    /// All lanes `value`.
    fn splat(self, value: f32) -> Self::Vector;
    /// The `LANES` values from `start`; panics if they are not there.
    fn load(self, values: &[f32], start: usize) -> Self::Vector;
    /// Writes the `LANES` values from `start`; panics if there is no room.
    fn store(self, vector: Self::Vector, values: &mut [f32], start: usize);
    /// `a · b + c`, with one rounding where the processor can.
    fn mul_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;

    /// All lanes the pair of bfloat16 in `pair`, the first of which is in the low half.
    fn splat_pair(self, pair: u32) -> Self::Vector;
    /// The `LANES` pairs of bfloat16 from `start`; panics if they are not there.
    fn load_pairs(self, pairs: &[u32], start: usize) -> Self::Vector;
    /// The `2 · LANES` bfloat16 from `start`, two to a lane; panics if they are not there.
    fn load_halves(self, halves: &[u16], start: usize) -> Self::Vector;
    /// For each lane of pairs of bfloat16: c + a₀·b₀ + a₁·b₁.
    fn dot_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;

    /// The vector at an address.
    ///
    /// # Safety
    /// `LANES` · 4 initialized bytes are there, aligned or not.
    unsafe fn load_from(self, address: *const u8) -> Self::Vector;

    /// The sum of the lanes, added pairwise in a fixed order.
    #[inline(always)]
    fn sum(self, vector: Self::Vector) -> f32 {
        let mut lanes = [0.0f32; MAX_LANES];
        self.store(vector, &mut lanes, 0);
        let mut half = MAX_LANES / 2;
        while half > 0 {
            for lane in 0..half {
                lanes[lane] += lanes[lane + half];
            }
            half /= 2;
        }
        lanes[0]
    }
}

/// Asks the processor to fetch the cache line of a value that will be read soon, if there is such a value.
#[inline(always)]
pub(crate) fn prefetch(values: &[f32], at: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: fetching changes nothing and never fails, whatever the address; every x86-64 can do it.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(values.as_ptr().wrapping_add(at).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (values, at);
}

/// Whole vectors one after the other, whose bounds are checked once.
///
/// Runs of one length that are read in a loop over that length cost no check inside the loop.
#[derive(Clone, Copy)]
pub(crate) struct Run<'a, S, T> {
    elements: &'a [T],
    vectors: usize,
    simd: S,
}

impl<'a, S: Simd, T: Element> Run<'a, S, T> {
    /// The `vectors` vectors from `start`; panics if they are not there.
    #[inline(always)]
    pub(crate) fn new(simd: S, elements: &'a [T], start: usize, vectors: usize) -> Self {
        const { assert!(size_of::<T>() * T::PIXELS == size_of::<f32>(), "a lane has 4 bytes") };
        let elements = &elements[start..start + vectors * S::LANES * T::PIXELS];
        Self { elements, vectors, simd }
    }

    /// One of the vectors; panics if there are not so many.
    #[inline(always)]
    pub(crate) fn load(self, idx: usize) -> S::Vector {
        assert!(idx < self.vectors, "a vector past the end of a run");
        // SAFETY: `elements` holds `vectors` whole vectors of `LANES` lanes, of which `idx` is one: `new` cut them so,
        // and an element fills its part of a lane of 4 bytes.
        unsafe { self.simd.load_from(self.elements.as_ptr().cast::<u8>().add(idx * S::LANES * 4)) }
    }
}

/// Work that is written once and compiled for every instruction set.
pub(crate) trait Kernel {
    /// What the work returns.
    type Output;
    /// Does the work; implementations must be `#[inline(always)]`.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// A set of processor instructions that the kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CpuPath {
    /// What every processor has.
    Portable,
    /// x86-64 with AVX2 and FMA: 8 lanes, 16 registers.
    Avx2,
    /// x86-64 with AVX-512F: 16 lanes, 32 registers.
    Avx512,
    /// AVX-512F and its products of bfloat16 pairs; as [`Self::Avx512`] for 32-bit floats.
    Avx512Bf16,
    /// As [`Self::Avx512Bf16`], with the convolutions of bfloat16 and their input gradients on the matrix tiles of
    /// AMX, on Linux. These sum in another order and take denormal numbers for zero: results differ by the rounding of
    /// 32-bit sums.
    Avx512Amx,
}

pub(crate) use CpuPath as Level;

impl CpuPath {
    /// All of them, from the plainest to the best.
    pub const ALL: [Self; 5] = [Self::Portable, Self::Avx2, Self::Avx512, Self::Avx512Bf16, Self::Avx512Amx];

    /// The best level of this processor.
    pub fn best() -> Self {
        Self::ALL.into_iter().rfind(|level| level.is_supported()).unwrap_or(Self::Portable)
    }

    /// True if this processor can run the level.
    #[cfg(target_arch = "x86_64")]
    pub fn is_supported(self) -> bool {
        match self {
            Self::Portable => true,
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            Self::Avx512 => is_x86_feature_detected!("avx512f"),
            Self::Avx512Bf16 => is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bf16"),
            #[cfg(target_os = "linux")]
            Self::Avx512Amx => Self::Avx512Bf16.is_supported() && amx::is_available(),
            #[cfg(not(target_os = "linux"))]
            Self::Avx512Amx => false,
        }
    }

    /// True if this processor can run the level.
    #[cfg(not(target_arch = "x86_64"))]
    pub fn is_supported(self) -> bool {
        self == Self::Portable
    }

    /// Floats in a vector at this level.
    pub(crate) fn lanes(self) -> usize {
        match self {
            Self::Portable | Self::Avx2 => 8,
            Self::Avx512 | Self::Avx512Bf16 | Self::Avx512Amx => 16,
        }
    }

    /// The name in lower case, as in `avx512-bf16`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Avx512Bf16 => "avx512-bf16",
            Self::Avx512Amx => "avx512-amx",
        }
    }

    /// Vector registers at this level.
    pub(crate) fn registers(self) -> usize {
        match self {
            Self::Portable | Self::Avx2 => 16,
            Self::Avx512 | Self::Avx512Bf16 | Self::Avx512Amx => 32,
        }
    }
}

/// Runs a kernel at `level`, or with portable code if the processor cannot run that level.
pub(crate) fn dispatch<K: Kernel>(level: Level, kernel: K) -> K::Output {
    #[cfg(target_arch = "x86_64")]
    {
        if matches!(level, Level::Avx512Bf16 | Level::Avx512Amx) && level.is_supported() {
            // SAFETY: the processor has AVX-512F and AVX512-BF16, as the condition just found.
            return unsafe { x86::run_avx512_bf16(kernel) };
        }
        if level == Level::Avx512 && level.is_supported() {
            // SAFETY: the processor has AVX-512F, as the condition just found.
            return unsafe { x86::run_avx512(kernel) };
        }
        if level == Level::Avx2 && level.is_supported() {
            // SAFETY: the processor has AVX2 and FMA, as the condition just found.
            return unsafe { x86::run_avx2(kernel) };
        }
    }
    let _ = level;
    kernel.run(Portable)
}

/// Eight floats at a time in plain Rust; the compiler uses what vectors the target has for certain.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

impl Simd for Portable {
    const LANES: usize = 8;
    const REGISTERS: usize = 16;
    type Vector = [f32; 8];

    #[inline(always)]
    fn zero(self) -> [f32; 8] {
        [0.0; 8]
    }
    #[inline(always)]
    fn splat(self, value: f32) -> [f32; 8] {
        [value; 8]
    }
    #[inline(always)]
    fn load(self, values: &[f32], start: usize) -> [f32; 8] {
        let mut vector = [0.0; 8];
        vector.copy_from_slice(&values[start..start + 8]);
        vector
    }
    #[inline(always)]
    unsafe fn load_from(self, address: *const u8) -> [f32; 8] {
        // SAFETY: the caller has 32 bytes there, and any bits are floats.
        unsafe { address.cast::<[f32; 8]>().read_unaligned() }
    }
    #[inline(always)]
    fn store(self, vector: [f32; 8], values: &mut [f32], start: usize) {
        values[start..start + 8].copy_from_slice(&vector);
    }
    #[inline(always)]
    fn mul_add(self, a: [f32; 8], b: [f32; 8], mut c: [f32; 8]) -> [f32; 8] {
        // Not `f32::mul_add`: without the instruction that is a slow library call.
        for lane in 0..8 {
            c[lane] += a[lane] * b[lane];
        }
        c
    }
    #[inline(always)]
    fn splat_pair(self, pair: u32) -> [f32; 8] {
        [f32::from_bits(pair); 8]
    }
    #[inline(always)]
    fn load_pairs(self, pairs: &[u32], start: usize) -> [f32; 8] {
        let mut vector = [0.0; 8];
        for (lane, pair) in vector.iter_mut().zip(&pairs[start..start + 8]) {
            *lane = f32::from_bits(*pair);
        }
        vector
    }
    #[inline(always)]
    fn load_halves(self, halves: &[u16], start: usize) -> [f32; 8] {
        let mut vector = [0.0; 8];
        let (pairs, _) = halves[start..start + 16].as_chunks::<2>();
        for (lane, pair) in vector.iter_mut().zip(pairs) {
            *lane = f32::from_bits(u32::from(pair[0]) | u32::from(pair[1]) << 16);
        }
        vector
    }
    #[inline(always)]
    fn dot_add(self, a: [f32; 8], b: [f32; 8], mut c: [f32; 8]) -> [f32; 8] {
        for lane in 0..8 {
            let [[a0, a1], [b0, b1]] = [a[lane], b[lane]].map(|pair| {
                let bits = pair.to_bits();
                [f32::from_bits(bits << 16), f32::from_bits(bits & 0xffff_0000)]
            });
            c[lane] += a0 * b0;
            c[lane] += a1 * b1;
        }
        c
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m256, __m512, __m512bh, _mm256_and_si256, _mm256_castps_si256, _mm256_castsi256_ps,
        _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_set1_epi32, _mm256_set1_ps, _mm256_setzero_ps,
        _mm256_slli_epi32, _mm256_storeu_ps, _mm512_and_si512, _mm512_castps_si512, _mm512_castsi512_ps,
        _mm512_dpbf16_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_set1_epi32, _mm512_set1_ps,
        _mm512_setzero_ps, _mm512_slli_epi32, _mm512_storeu_ps,
    };

    use super::{Kernel, Simd};

    /// Proof of AVX-512F.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx512(());

    /// Proof of AVX-512F and AVX512-BF16.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx512Bf16(Avx512);

    /// Proof of AVX2 and FMA.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx2(());

    /// Runs a kernel with AVX-512F.
    #[target_feature(enable = "avx512f,avx2,fma")]
    pub(super) fn run_avx512<K: Kernel>(kernel: K) -> K::Output {
        kernel.run(Avx512(()))
    }

    /// Runs a kernel with AVX-512F and AVX512-BF16.
    #[target_feature(enable = "avx512f,avx512bf16,avx2,fma")]
    pub(super) fn run_avx512_bf16<K: Kernel>(kernel: K) -> K::Output {
        kernel.run(Avx512Bf16(Avx512(())))
    }

    /// Runs a kernel with AVX2 and FMA.
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn run_avx2<K: Kernel>(kernel: K) -> K::Output {
        kernel.run(Avx2(()))
    }

    impl Simd for Avx512 {
        const LANES: usize = 16;
        const REGISTERS: usize = 32;
        type Vector = __m512;

        #[inline(always)]
        fn zero(self) -> __m512 {
            // SAFETY: `self` proves AVX-512F.
            unsafe { _mm512_setzero_ps() }
        }
        #[inline(always)]
        fn splat(self, value: f32) -> __m512 {
            // SAFETY: `self` proves AVX-512F.
            unsafe { _mm512_set1_ps(value) }
        }
        #[inline(always)]
        fn load(self, values: &[f32], start: usize) -> __m512 {
            let lanes = &values[start..start + 16];
            // SAFETY: `self` proves AVX-512F; `lanes` holds 16 floats, and the load needs no alignment.
            unsafe { _mm512_loadu_ps(lanes.as_ptr()) }
        }
        #[inline(always)]
        unsafe fn load_from(self, address: *const u8) -> __m512 {
            // SAFETY: `self` proves AVX-512F; the caller has 64 bytes there, and the load needs no alignment.
            unsafe { _mm512_loadu_ps(address.cast()) }
        }
        #[inline(always)]
        fn store(self, vector: __m512, values: &mut [f32], start: usize) {
            let lanes = &mut values[start..start + 16];
            // SAFETY: `self` proves AVX-512F; `lanes` holds 16 floats, and the store needs no alignment.
            unsafe { _mm512_storeu_ps(lanes.as_mut_ptr(), vector) }
        }
        #[inline(always)]
        fn mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
            // SAFETY: `self` proves AVX-512F.
            unsafe { _mm512_fmadd_ps(a, b, c) }
        }
        #[inline(always)]
        fn splat_pair(self, pair: u32) -> __m512 {
            // SAFETY: `self` proves AVX-512F.
            unsafe { _mm512_castsi512_ps(_mm512_set1_epi32(pair.cast_signed())) }
        }
        #[inline(always)]
        fn load_pairs(self, pairs: &[u32], start: usize) -> __m512 {
            let lanes = &pairs[start..start + 16];
            // SAFETY: `self` proves AVX-512F; `lanes` holds 64 bytes, and the load needs no alignment.
            unsafe { _mm512_loadu_ps(lanes.as_ptr().cast()) }
        }
        #[inline(always)]
        fn load_halves(self, halves: &[u16], start: usize) -> __m512 {
            let lanes = &halves[start..start + 32];
            // SAFETY: `self` proves AVX-512F; `lanes` holds 64 bytes, and the load needs no alignment.
            unsafe { _mm512_loadu_ps(lanes.as_ptr().cast()) }
        }
        #[inline(always)]
        fn dot_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
            // SAFETY: `self` proves AVX-512F.
            unsafe {
                let high = _mm512_set1_epi32(0xffff_0000u32.cast_signed());
                let [a, b] = [_mm512_castps_si512(a), _mm512_castps_si512(b)];
                let [a0, b0] = [
                    _mm512_castsi512_ps(_mm512_slli_epi32::<16>(a)),
                    _mm512_castsi512_ps(_mm512_slli_epi32::<16>(b)),
                ];
                let [a1, b1] = [
                    _mm512_castsi512_ps(_mm512_and_si512(a, high)),
                    _mm512_castsi512_ps(_mm512_and_si512(b, high)),
                ];
                _mm512_fmadd_ps(a1, b1, _mm512_fmadd_ps(a0, b0, c))
            }
        }
    }

    /// As [`Avx512`], but for the products of pairs.
    impl Simd for Avx512Bf16 {
        const LANES: usize = 16;
        const REGISTERS: usize = 32;
        type Vector = __m512;

        #[inline(always)]
        fn zero(self) -> __m512 {
            self.0.zero()
        }
        #[inline(always)]
        fn splat(self, value: f32) -> __m512 {
            self.0.splat(value)
        }
        #[inline(always)]
        fn load(self, values: &[f32], start: usize) -> __m512 {
            self.0.load(values, start)
        }
        #[inline(always)]
        unsafe fn load_from(self, address: *const u8) -> __m512 {
            // SAFETY: as the caller says.
            unsafe { self.0.load_from(address) }
        }
        #[inline(always)]
        fn store(self, vector: __m512, values: &mut [f32], start: usize) {
            self.0.store(vector, values, start);
        }
        #[inline(always)]
        fn mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
            self.0.mul_add(a, b, c)
        }
        #[inline(always)]
        fn splat_pair(self, pair: u32) -> __m512 {
            self.0.splat_pair(pair)
        }
        #[inline(always)]
        fn load_pairs(self, pairs: &[u32], start: usize) -> __m512 {
            self.0.load_pairs(pairs, start)
        }
        #[inline(always)]
        fn load_halves(self, halves: &[u16], start: usize) -> __m512 {
            self.0.load_halves(halves, start)
        }
        #[inline(always)]
        fn dot_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
            // SAFETY: `self` proves AVX512-BF16; the three types are 512 bits of any kind.
            unsafe {
                let a = std::mem::transmute::<__m512, __m512bh>(a);
                let b = std::mem::transmute::<__m512, __m512bh>(b);
                _mm512_dpbf16_ps(c, a, b)
            }
        }
    }

    impl Simd for Avx2 {
        const LANES: usize = 8;
        const REGISTERS: usize = 16;
        type Vector = __m256;

        #[inline(always)]
        fn zero(self) -> __m256 {
            // SAFETY: `self` proves AVX2.
            unsafe { _mm256_setzero_ps() }
        }
        #[inline(always)]
        fn splat(self, value: f32) -> __m256 {
            // SAFETY: `self` proves AVX2.
            unsafe { _mm256_set1_ps(value) }
        }
        #[inline(always)]
        fn load(self, values: &[f32], start: usize) -> __m256 {
            let lanes = &values[start..start + 8];
            // SAFETY: `self` proves AVX2; `lanes` holds 8 floats, and the load needs no alignment.
            unsafe { _mm256_loadu_ps(lanes.as_ptr()) }
        }
        #[inline(always)]
        unsafe fn load_from(self, address: *const u8) -> __m256 {
            // SAFETY: `self` proves AVX2; the caller has 32 bytes there, and the load needs no alignment.
            unsafe { _mm256_loadu_ps(address.cast()) }
        }
        #[inline(always)]
        fn store(self, vector: __m256, values: &mut [f32], start: usize) {
            let lanes = &mut values[start..start + 8];
            // SAFETY: `self` proves AVX2; `lanes` holds 8 floats, and the store needs no alignment.
            unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), vector) }
        }
        #[inline(always)]
        fn mul_add(self, a: __m256, b: __m256, c: __m256) -> __m256 {
            // SAFETY: `self` proves AVX2 and FMA.
            unsafe { _mm256_fmadd_ps(a, b, c) }
        }
        #[inline(always)]
        fn splat_pair(self, pair: u32) -> __m256 {
            // SAFETY: `self` proves AVX2.
            unsafe { _mm256_castsi256_ps(_mm256_set1_epi32(pair.cast_signed())) }
        }
        #[inline(always)]
        fn load_pairs(self, pairs: &[u32], start: usize) -> __m256 {
            let lanes = &pairs[start..start + 8];
            // SAFETY: `self` proves AVX2; `lanes` holds 32 bytes, and the load needs no alignment.
            unsafe { _mm256_loadu_ps(lanes.as_ptr().cast()) }
        }
        #[inline(always)]
        fn load_halves(self, halves: &[u16], start: usize) -> __m256 {
            let lanes = &halves[start..start + 16];
            // SAFETY: `self` proves AVX2; `lanes` holds 32 bytes, and the load needs no alignment.
            unsafe { _mm256_loadu_ps(lanes.as_ptr().cast()) }
        }
        #[inline(always)]
        fn dot_add(self, a: __m256, b: __m256, c: __m256) -> __m256 {
            // SAFETY: `self` proves AVX2 and FMA.
            unsafe {
                let high = _mm256_set1_epi32(0xffff_0000u32.cast_signed());
                let [a, b] = [_mm256_castps_si256(a), _mm256_castps_si256(b)];
                let [a0, b0] = [
                    _mm256_castsi256_ps(_mm256_slli_epi32::<16>(a)),
                    _mm256_castsi256_ps(_mm256_slli_epi32::<16>(b)),
                ];
                let [a1, b1] = [
                    _mm256_castsi256_ps(_mm256_and_si256(a, high)),
                    _mm256_castsi256_ps(_mm256_and_si256(b, high)),
                ];
                _mm256_fmadd_ps(a1, b1, _mm256_fmadd_ps(a0, b0, c))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Probe<'a>(&'a [f32]);

    impl Kernel for Probe<'_> {
        type Output = (Vec<f32>, f32);
        #[inline(always)]
        fn run<S: Simd>(self, simd: S) -> Self::Output {
            let x = simd.load(self.0, 1);
            let y = simd.mul_add(x, simd.splat(2.0), simd.splat(0.5));
            let mut out = vec![0.0; S::LANES];
            simd.store(y, &mut out, 0);
            (out, simd.sum(simd.mul_add(x, simd.splat(1.0), simd.zero())))
        }
    }

    #[test]
    fn every_level_does_the_same_arithmetic() {
        let values: Vec<f32> = (0..32).map(|v| v as f32 * 0.25).collect();
        for level in [Level::Portable, Level::Avx2, Level::Avx512] {
            let (out, sum) = dispatch(level, Probe(&values));
            let expected: Vec<f32> = values[1..=out.len()].iter().map(|v| v * 2.0 + 0.5).collect();
            assert_eq!(out, expected, "{level:?}");
            let lanes_sum: f32 = values[1..=out.len()].iter().sum();
            assert!((sum - lanes_sum).abs() < 1e-6, "{level:?}: {sum} {lanes_sum}");
        }
        assert!(Level::best().is_supported());
    }
}
