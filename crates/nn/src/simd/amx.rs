//! Matrix tiles of Intel processors: AMX-TILE and AMX-BF16.
//!
//! It is sound because a value of [`Amx`] is the proof that the processor and the system have tiles and that this
//! thread's are configured as its shape says: it is made only after [`is_available`] said yes, there is one at a time
//! on a thread (a second would configure the tiles anew), and it cannot leave the thread. What instructions read and
//! write follows from the shape and is checked before each.
//!
//! Stable Rust has no intrinsics for tiles, so that they are written as assembly. The compiler never uses the tile
//! registers on its own: they keep their values from one instruction here to the next.

use std::arch::asm;
use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::OnceLock;

use super::tiles::{Sums, TILE, TileShape, Tiles};
use crate::kernels::element::Element;

/// True if processor and system have tiles of bfloat16; the first call asks the system for them.
pub(super) fn is_available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| has_instructions() && is_permitted())
}

/// True if the processor has AMX-TILE and AMX-BF16, and the system saves the tiles of a thread.
fn has_instructions() -> bool {
    use std::arch::x86_64::{__cpuid, __cpuid_count};

    const XSAVE_BY_SYSTEM: u32 = 1 << 27;
    const AMX_BF16: u32 = 1 << 22;
    const AMX_TILE: u32 = 1 << 24;
    const TILE_STATE: u32 = 0b11 << 17;
    let bits = AMX_BF16 | AMX_TILE;
    if __cpuid(0).eax < 7 || __cpuid(1).ecx & XSAVE_BY_SYSTEM == 0 || __cpuid_count(7, 0).edx & bits != bits {
        return false;
    }
    let saved: u32;
    // SAFETY: the processor has `xgetbv`, as the system's use of XSAVE shows; register 0 is always there.
    unsafe {
        asm!("xgetbv", in("ecx") 0, out("eax") saved, out("edx") _, options(nomem, nostack, preserves_flags));
    }
    saved & TILE_STATE == TILE_STATE
}

/// Asks Linux to let this process use tiles (`arch_prctl(ARCH_REQ_XCOMP_PERM, 18)`); true if it does.
fn is_permitted() -> bool {
    const ARCH_PRCTL: isize = 158;
    const REQUEST: usize = 0x1023;
    const TILE_DATA: usize = 18;
    let result: isize;
    // SAFETY: the system call takes two numbers, touches no memory of ours, and changes `rcx` and `r11`.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => result,
            in("rdi") REQUEST,
            in("rsi") TILE_DATA,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result == 0
}

thread_local! {
    /// True while this thread has an [`Amx`].
    static CONFIGURED: Cell<bool> = const { Cell::new(false) };
}

/// Proof of configured tiles: sums in 0 to 3, weights in 4 and 5, pixels in 6 and 7.
pub(super) struct Amx {
    shape: TileShape,
    /// Tiles belong to a thread.
    _not_send: PhantomData<*const ()>,
}

/// What `ldtilecfg` reads.
#[repr(C)]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

impl Amx {
    /// Configures this thread's tiles, if there are any; panics if another value has them.
    pub(super) fn configure(shape: TileShape) -> Option<Self> {
        const { assert!(size_of::<Configuration>() == 64, "what the instruction reads") };
        if !is_available() {
            return None;
        }
        let shape = shape.checked();
        assert!(!CONFIGURED.replace(true), "this thread's tiles are in use");
        let tiles = Self { shape, _not_send: PhantomData };
        let mut configuration =
            Configuration { palette: 1, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
        for tile in 0..8 {
            let [rows, words] = tiles.size(tile);
            configuration.rows[tile] = rows as u8;
            configuration.row_bytes[tile] = 4 * words as u16;
        }
        // SAFETY: the processor has tiles; the 64 bytes are there, and the numbers are those that palette 1 allows: at
        // most 16 rows of at most 64 bytes, and zeros for the tiles that it does not have.
        unsafe {
            asm!("ldtilecfg [{}]", in(reg) &raw const configuration,
                options(readonly, nostack, preserves_flags));
        }
        Some(tiles)
    }

    /// Rows of a tile, and elements of 4 bytes in each.
    #[inline(always)]
    fn size(&self, tile: usize) -> [usize; 2] {
        let TileShape { channels, pairs } = self.shape;
        match tile {
            0..4 => [channels, TILE],
            4..6 => [channels, pairs],
            _ => [pairs, TILE],
        }
    }

    /// Reads a tile whose rows are `stride` elements apart; panics if they are not there.
    #[inline(always)]
    fn load<const NUMBER: usize, T: Element>(&mut self, elements: &[T], start: usize, stride: usize) {
        const { assert!(size_of::<T>() == 4, "a tile is of elements of 4 bytes") };
        let [rows, words] = self.size(NUMBER);
        let reached = (rows - 1).checked_mul(stride).and_then(|last| last.checked_add(words));
        let elements = &elements[start..][..reached.expect("the stride is within memory")];
        // SAFETY: `self` proves tiles; this one was configured with these rows and words, which all lie in `elements`.
        unsafe {
            asm!("tileloadd tmm{}, [{} + {}*1]", const NUMBER, in(reg) elements.as_ptr(), in(reg) 4 * stride,
                options(readonly, nostack, preserves_flags));
        }
    }
}

impl Drop for Amx {
    fn drop(&mut self) {
        // SAFETY: `self` proves tiles.
        unsafe { asm!("tilerelease", options(nomem, nostack, preserves_flags)) };
        CONFIGURED.set(false);
    }
}

impl<T: Element> Tiles<T> for Amx {
    #[inline(always)]
    fn zero<const W: usize, const P: usize>(&mut self) {
        // SAFETY: `self` proves tiles.
        unsafe { asm!("tilezero tmm{}", const sum(W, P), options(nomem, nostack, preserves_flags)) };
    }
    #[inline(always)]
    fn load_sums<const W: usize, const P: usize>(&mut self, sums: &Sums) {
        // SAFETY: `self` proves tiles; the sums' tile has at most 16 rows of 64 bytes, 64 bytes apart.
        unsafe {
            asm!("tileloadd tmm{}, [{} + {}*1]", const sum(W, P), in(reg) sums, in(reg) 4 * TILE,
                options(readonly, nostack, preserves_flags));
        }
    }
    #[inline(always)]
    fn store_sums<const W: usize, const P: usize>(&mut self, sums: &mut Sums) {
        // SAFETY: as in `load_sums`; what is written are floats.
        unsafe {
            asm!("tilestored [{} + {}*1], tmm{}", in(reg) sums, in(reg) 4 * TILE, const sum(W, P),
                options(nostack, preserves_flags));
        }
    }
    #[inline(always)]
    fn load_weights<const W: usize>(&mut self, weights: &[T], start: usize) {
        match W {
            0 => self.load::<4, T>(weights, start, self.shape.pairs),
            _ => self.load::<5, T>(weights, start, self.shape.pairs),
        }
    }
    #[inline(always)]
    fn load_pixels<const P: usize>(&mut self, planes: &[T], start: usize, plane_len: usize) {
        match P {
            0 => self.load::<6, T>(planes, start, plane_len),
            _ => self.load::<7, T>(planes, start, plane_len),
        }
    }
    #[inline(always)]
    fn multiply<const W: usize, const P: usize>(&mut self) {
        // SAFETY: `self` proves tiles, whose shapes fit each other.
        unsafe {
            asm!("tdpbf16ps tmm{}, tmm{}, tmm{}", const sum(W, P), const weights(W), const pixels(P),
                options(nomem, nostack, preserves_flags));
        }
    }
}

/// The number of a tile of sums.
const fn sum(w: usize, p: usize) -> usize {
    assert!(w < 2 && p < 2, "there are two tiles of weights and two of pixels");
    2 * w + p
}

/// The number of a tile of weights.
const fn weights(w: usize) -> usize {
    4 + w
}

/// The number of a tile of pixels.
const fn pixels(p: usize) -> usize {
    6 + p
}
