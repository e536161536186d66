//! A U-Net whose upsampling leaves no checkerboard.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use crate::backbone::Backbone;
use crate::layers::{Conv, ConvBlock, Mode, check_image};
use crate::ops::{Activation, upsample_bilinear2d};
use crate::{NnError, ParameterStore, Precision};

/// Filters grow by this factor at most, from the first level on.
const MAX_FILTER_FACTOR: usize = 8;

/// The configuration of a [`UNet`].
///
/// | field | unit | [`UNetConfig::pix2pix`] | [`UNetConfig::plain`] | range | source |
/// |---|---|---|---|---|---|
/// | `filters` | – | 32 | 32 | ≥ 1 | ours |
/// | `depth` | halvings | 3 | 3 | 1 to 8 | ours |
/// | `residual_blocks` | – | 4 | 0 | – | "residual structure in the bottle-neck"; how many is ours |
/// | `dropout` | – | 0 | 0.1 | [0, 1) | ours |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UNetConfig {
    /// Filters at full resolution; they double with each halving, up to eightfold.
    pub filters: usize,
    /// How often the image is halved.
    pub depth: usize,
    /// Residual blocks at the lowest resolution.
    pub residual_blocks: usize,
    /// The probability that a channel is dropped, in the bottleneck and on the way up.
    pub dropout: f32,
}

impl UNetConfig {
    /// The generator of the pelvic GAN: skip connections and a residual bottleneck.
    pub const fn pix2pix() -> Self {
        Self { filters: 32, depth: 3, residual_blocks: 4, dropout: 0.0 }
    }

    /// A plain U-Net.
    pub const fn plain() -> Self {
        Self { filters: 32, depth: 3, residual_blocks: 0, dropout: 0.1 }
    }

    /// Everything that is out of range, a clause each.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.filters == 0 {
            problems.push("`filters` must be at least 1".to_owned());
        }
        if !(1..=8).contains(&self.depth) {
            problems.push(format!("`depth` must be from 1 to 8, not {}", self.depth));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            problems.push(format!("`dropout` must be in [0, 1), not {}", self.dropout));
        }
        problems
    }

    /// Rows and columns that an image must have at least.
    pub const fn least_size(&self) -> usize {
        1 << self.depth
    }

    /// The filters of a level; level 0 has the full resolution.
    fn filters_at(&self, level: usize) -> usize {
        self.filters * (1 << level).min(MAX_FILTER_FACTOR)
    }
}

/// A U-Net (Ronneberger et al. 2015, arXiv:1505.04597) with strided convolutions on the way down.
///
/// Level 0 is a 3×3 block; each way down is a 4×4 block of stride 2; at the bottom come residual blocks (3×3 block + 3×3
/// block without activation, added to their input); each way up is a bilinear upsampling to the skip connection's size,
/// a 3×3 block, and a 3×3 block of that joined with the skip; a 3×3 convolution with bias ends it.
/// A block is convolution → batch normalization → ReLU → spatial dropout.
/// Upsampling before a convolution of stride 1 leaves no checkerboard (Odena et al. 2016, doi:10.23915/distill.00003),
/// which transposed convolutions do. Any height and width of at least 2^depth will do.
///
/// # Parameter names
/// After the prefix: `stem`, `down1` …, `middle1.first`, `middle1.second` …, `up1`, `merge1` … (numbered by the level they
/// come from) hold `conv.weight` and `bn.*`; `last` holds `weight` and `bias`. Layouts are PyTorch's.
pub struct UNet {
    in_channels: usize,
    least_size: usize,
    stem: ConvBlock,
    down: Vec<ConvBlock>,
    middle: Vec<[ConvBlock; 2]>,
    /// From the lowest level up.
    up: Vec<Up>,
    last: Conv,
}

/// One way up.
struct Up {
    block: ConvBlock,
    merge: ConvBlock,
}

impl UNet {
    /// Builds the network and adds its parameters, named `{prefix}…`, to `store`.
    ///
    /// # Errors
    /// [`NnError::Config`]; [`NnError::DuplicateParameter`] if the prefix is taken.
    pub fn new(
        config: &UNetConfig,
        [in_channels, out_channels]: [usize; 2],
        prefix: &str,
        store: &mut ParameterStore,
    ) -> Result<Self, NnError> {
        let mut problems = config.problems();
        if in_channels == 0 || out_channels == 0 {
            problems.push("a U-Net needs channels to read and to give".to_owned());
        }
        if !problems.is_empty() {
            return Err(NnError::Config { problems });
        }
        let (filters, dropout) = (|level| config.filters_at(level), config.dropout);
        let relu = Activation::Relu;
        let stem = ConvBlock::keeping(store, &format!("{prefix}stem"), [in_channels, filters(0)], relu, 0.0)?;
        let mut down = Vec::new();
        for level in 1..=config.depth {
            let channels = [filters(level - 1), filters(level)];
            down.push(ConvBlock::halving(store, &format!("{prefix}down{level}"), channels)?);
        }
        let bottom = [filters(config.depth); 2];
        let mut middle = Vec::new();
        for n in 1..=config.residual_blocks {
            let mut block = |part: &str, activation, dropout| {
                ConvBlock::keeping(store, &format!("{prefix}middle{n}.{part}"), bottom, activation, dropout)
            };
            middle.push([block("first", relu, dropout)?, block("second", Activation::Linear, 0.0)?]);
        }
        let mut up = Vec::new();
        for level in (1..=config.depth).rev() {
            let to = filters(level - 1);
            let mut block = |part: &str, from| {
                ConvBlock::keeping(store, &format!("{prefix}{part}{level}"), [from, to], relu, dropout)
            };
            up.push(Up { block: block("up", filters(level))?, merge: block("merge", 2 * to)? });
        }
        let last = Conv::new(store, &format!("{prefix}last"), filters(0), out_channels, 3, true)?;
        Ok(Self { in_channels, least_size: config.least_size(), stem, down, middle, up, last })
    }
}

impl Backbone for UNet {
    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor, NnError> {
        check_image(x, self.in_channels, self.least_size)?;
        let mut skips = vec![self.stem.forward(x, mode)?];
        for block in &self.down {
            let below = block.forward(&skips[skips.len() - 1], mode)?;
            skips.push(below);
        }
        let mut x = skips.pop().expect("because the stem's map is there");
        for [first, second] in &self.middle {
            x = (&x + second.forward(&first.forward(&x, mode)?, mode)?)?;
        }
        for (up, skip) in self.up.iter().zip(skips.into_iter().rev()) {
            let (_, _, height, width) = skip.dims4()?;
            let larger = up.block.forward(&upsample_bilinear2d(&x, [height, width], false)?, mode)?;
            x = up.merge.forward(&Tensor::cat(&[larger, skip], 1)?, mode)?;
        }
        self.last.forward(&x, 1, mode, Precision::F32)
    }
}
