//! What is compared: one line a comparison, and the ways in which the peer runs.

/// The same work on both sides.
#[derive(Clone, Copy)]
pub(crate) struct Comparison {
    /// What it is called in the tables and chosen by.
    pub(crate) name: &'static str,
    /// Our program: an example of `synthct-nn`.
    pub(crate) example: &'static str,
    /// The peer's: a script in `xtask/peers`.
    pub(crate) script: &'static str,
    /// `train` or `eval`.
    pub(crate) mode: &'static str,
    /// `f32` or `bf16`.
    pub(crate) precision: &'static str,
    /// Which vector instructions.
    pub(crate) instructions: Instructions,
    /// How much work.
    pub(crate) work: Work,
}

/// Vector instructions that both sides may use.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Instructions {
    /// All that the processor has.
    All,
    /// Up to AVX2 and FMA.
    Avx2,
}

/// How much work a program does.
#[derive(Clone, Copy)]
pub(crate) struct Work {
    /// Slices a batch.
    pub(crate) batch: usize,
    /// Rows and columns of a slice.
    pub(crate) side: usize,
    /// Filters of the network's first block.
    pub(crate) filters: usize,
    /// Timed steps, of which the fastest counts.
    pub(crate) steps: usize,
}

/// The allocator's settings of one run of the peer.
#[derive(Clone, Copy)]
pub(crate) struct Malloc {
    pub(crate) name: &'static str,
    pub(crate) environment: &'static [(&'static str, &'static str)],
}

const SLICES: Work = Work { batch: 8, side: 256, filters: 16, steps: 2 };

/// Every comparison, in the order of the tables.
pub(crate) const COMPARISONS: &[Comparison] = &[
    three_task("three-task eval f32", "eval", "f32", Instructions::All),
    three_task("three-task eval bf16", "eval", "bf16", Instructions::All),
    three_task("three-task eval f32 avx2", "eval", "f32", Instructions::Avx2),
    three_task("three-task train f32", "train", "f32", Instructions::All),
    three_task("three-task train bf16", "train", "bf16", Instructions::All),
    three_task("three-task train f32 avx2", "train", "f32", Instructions::Avx2),
    Comparison {
        name: "pix2pix train f32",
        example: "pix2pix_step",
        script: "pix2pix.py",
        mode: "train",
        precision: "f32",
        instructions: Instructions::All,
        work: Work { batch: 4, side: 256, filters: 64, steps: 2 },
    },
];

const fn three_task(
    name: &'static str,
    mode: &'static str,
    precision: &'static str,
    instructions: Instructions,
) -> Comparison {
    let (example, script) = ("three_task_step", "three_task.py");
    Comparison { name, example, script, mode, precision, instructions, work: SLICES }
}

/// Memory layouts and execution of the peer, as its scripts call them.
pub(crate) const LAYOUTS: &[&str] = &["eager", "channels-last", "compile"];

/// Our allocator, in the examples as in the binary.
pub(crate) const OUR_MALLOC: Malloc = Malloc { name: "mimalloc", environment: &[] };

/// The peer's: as it comes, and so that large blocks are kept instead of given back to the system.
pub(crate) const MALLOCS: &[Malloc] = &[
    Malloc { name: "glibc default", environment: &[] },
    Malloc {
        name: "glibc, mmap and trim thresholds 4 GiB",
        environment: &[("MALLOC_MMAP_THRESHOLD_", "4294967296"), ("MALLOC_TRIM_THRESHOLD_", "4294967296")],
    },
];

impl Comparison {
    /// Why this processor has nothing to show in it, if so.
    pub(crate) fn gap(&self) -> Option<&'static str> {
        if self.instructions == Instructions::Avx2 && !has_avx512() {
            return Some("the processor has no AVX-512, so that it is the comparison without `avx2`");
        }
        (self.precision == "bf16" && !has_bf16()).then_some("the processor has no bfloat16 instructions")
    }
}

#[cfg(target_arch = "x86_64")]
fn has_avx512() -> bool {
    std::is_x86_feature_detected!("avx512f")
}

#[cfg(target_arch = "x86_64")]
fn has_bf16() -> bool {
    std::is_x86_feature_detected!("avx512bf16")
}

#[cfg(not(target_arch = "x86_64"))]
fn has_avx512() -> bool {
    false
}

#[cfg(not(target_arch = "x86_64"))]
fn has_bf16() -> bool {
    false
}

impl Instructions {
    /// The environment that holds PyTorch to them: its own kernels and compiled ones by the first, oneDNN by the second.
    pub(crate) const fn torch_environment(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::All => &[],
            Self::Avx2 => &[("ATEN_CPU_CAPABILITY", "avx2"), ("ONEDNN_MAX_CPU_ISA", "AVX2")],
        }
    }

    /// The arguments that hold our example to them.
    pub(crate) const fn our_arguments(self) -> &'static [&'static str] {
        match self {
            Self::All => &[],
            Self::Avx2 => &["--level", "avx2"],
        }
    }
}

impl Work {
    /// A few seconds' work.
    pub(crate) fn quick(self) -> Self {
        Self { batch: 2, side: self.side.min(64), steps: 2, ..self }
    }

    /// The arguments that both sides' programs take.
    pub(crate) fn arguments(self) -> Vec<String> {
        [("batch", self.batch), ("size", self.side), ("filters", self.filters), ("steps", self.steps)]
            .into_iter()
            .flat_map(|(name, value)| [format!("--{name}"), value.to_string()])
            .collect()
    }
}
