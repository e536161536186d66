//! MR channels on one intensity scale.

use serde::{Deserialize, Serialize};
use synthct_image::{Mask, Volume};
use synthct_prep::{
    MrScale, NyulConfig, NyulFit, NyulLandmarks, PercentileConfig, PrepError, ZScore, percentile, zscore,
};

/// How intensities are to be brought to one scale.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum NormalizationMethod {
    /// [`synthct_prep::zscore`] inside the body, channel by channel.
    #[default]
    #[serde(rename = "zscore-in-body")]
    ZScoreInBody,
    /// [`synthct_prep::percentile`] inside the body, channel by channel.
    #[serde(rename = "percentile-in-body")]
    PercentileInBody(PercentileConfig),
    /// Nyúl's method, with landmarks inside the body, fitted on each channel of the training cases alone.
    ///
    /// Networks learn best from values near one: an output range of −1 to 1 suits them better than 1 to 100.
    #[serde(rename = "nyul-in-body")]
    NyulInBody(NyulConfig),
    /// As acquired: for methods that compare channels with each other, as Dixon's water with its fat.
    #[serde(rename = "as-acquired")]
    AsAcquired,
}

/// How intensities are brought to one scale: a [`NormalizationMethod`] with what it learnt from the training cases.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Normalization {
    /// [`synthct_prep::zscore`] inside the body, channel by channel.
    #[serde(rename = "zscore-in-body")]
    ZScoreInBody,
    /// [`synthct_prep::percentile`] inside the body, channel by channel.
    #[serde(rename = "percentile-in-body")]
    PercentileInBody(PercentileConfig),
    /// [`NyulLandmarks::apply`] with landmarks inside the body; a standard scale a channel.
    #[serde(rename = "nyul-in-body")]
    NyulInBody(Vec<NyulLandmarks>),
    /// As acquired.
    #[serde(rename = "as-acquired")]
    AsAcquired,
}

impl NormalizationMethod {
    /// The names that [`NormalizationMethod::named`] knows.
    pub const NAMES: [&str; 3] = ["zscore", "percentile", "nyul"];

    /// A method by its name, if there is one: z-scores; percentiles 1 and 99 as 0 and 1, without clipping; or Nyúl's method
    /// with the landmarks of the intensity-normalization package, on a scale from −1 to 1.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "zscore" => Some(Self::ZScoreInBody),
            "percentile" => {
                let config = PercentileConfig { low_percent: 1.0, high_percent: 99.0, clip: false };
                Some(Self::PercentileInBody(config))
            }
            "nyul" => Some(Self::NyulInBody(NyulConfig {
                output_range: [-1.0, 1.0],
                ..NyulConfig::intensity_normalization()
            })),
            _ => None,
        }
    }

    /// The settings with the values they may have, as [`TrainConfig::validate`](crate::TrainConfig::validate) wants them.
    pub(crate) fn fields(&self) -> Vec<(&'static str, String, bool, &'static str)> {
        let problem = match self {
            Self::ZScoreInBody | Self::AsAcquired => None,
            Self::PercentileInBody(config) => config.validate().err(),
            Self::NyulInBody(config) => NyulFit::new(config.clone()).err(),
        };
        let value = problem.as_ref().map(ToString::to_string).unwrap_or_default();
        vec![("normalization", value, problem.is_none(), "usable")]
    }

    /// Learns what there is to learn from the training cases: for each, its channels and its body.
    pub(crate) fn fitted<'a>(
        &self,
        n_channels: usize,
        cases: impl Iterator<Item = (&'a [Volume<f32>], &'a Mask)>,
    ) -> Result<Normalization, PrepError> {
        match self {
            Self::ZScoreInBody => Ok(Normalization::ZScoreInBody),
            Self::AsAcquired => Ok(Normalization::AsAcquired),
            Self::PercentileInBody(config) => Ok(Normalization::PercentileInBody(*config)),
            Self::NyulInBody(config) => {
                let mut fits = vec![NyulFit::new(config.clone())?; n_channels];
                for (channels, body) in cases {
                    for (fit, channel) in fits.iter_mut().zip(channels) {
                        fit.add(channel, Some(body))?;
                    }
                }
                Ok(Normalization::NyulInBody(fits.iter().map(NyulFit::landmarks).collect::<Result<_, _>>()?))
            }
        }
    }
}

impl Normalization {
    /// What is wrong with the values of a stored normalization, if something is.
    pub(crate) fn problem(&self, n_channels: usize) -> Option<String> {
        match self {
            Self::ZScoreInBody | Self::AsAcquired => None,
            Self::PercentileInBody(config) => config.validate().err().map(|error| error.to_string()),
            Self::NyulInBody(landmarks) => (landmarks.len() != n_channels)
                .then(|| format!("{} standard scale(s) for {n_channels} channel(s)", landmarks.len())),
        }
    }

    /// Channel `n` on the common scale, and where its intensities lie there.
    pub(crate) fn apply(
        &self,
        n: usize,
        channel: &Volume<f32>,
        body: &Mask,
    ) -> Result<(Volume<f32>, MrScale), PrepError> {
        let (normalized, zero_signal) = match self {
            Self::ZScoreInBody => {
                let (normalized, parameters) = zscore(channel, body)?;
                return Ok((normalized, MrScale::normalized(&parameters)));
            }
            Self::PercentileInBody(config) => {
                let (normalized, range) = percentile(channel, body, *config)?;
                (normalized, range.at(0.0))
            }
            Self::AsAcquired => (channel.clone(), 0.0),
            Self::NyulInBody(landmarks) => {
                let map = landmarks[n].map_of(channel, Some(body))?;
                (map.apply(channel), map.at(0.0))
            }
        };
        let ZScore { mean, sd } = ZScore::of(&normalized, body)?;
        Ok((normalized, MrScale { zero_signal: f64::from(zero_signal), mean, sd }))
    }
}
