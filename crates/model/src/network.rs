//! A packaged network, ready to be applied.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use synthct_nn::{Cascade, Generator, Mode, ParameterStore, Precision, RoiNet, RoiNetOutput};

use crate::learner::set_weights;
use crate::{ModelError, PackagedModel};

/// A network with given weights.
pub(crate) struct Network {
    kind: Kind,
    precision: Precision,
}

enum Kind {
    RoiNet(Box<RoiNet>),
    Generator(Generator),
    Cascade(Cascade),
}

impl Network {
    /// The network of a package with its weights, which must be exactly the ones it has; none for baselines.
    pub(crate) fn new(
        model: &PackagedModel,
        precision: Precision,
        weights: &BTreeMap<String, Tensor>,
        device: &Device,
    ) -> Result<Option<Self>, ModelError> {
        let mut store = ParameterStore::new(0, device);
        let kind = match model {
            PackagedModel::RoiNet(config) => {
                let net = RoiNet::new(config, &mut store)?;
                set_weights(&[&store], weights)?;
                Kind::RoiNet(Box::new(net))
            }
            PackagedModel::Pix2Pix { in_channels, generator } => {
                let net = Generator::new(generator, *in_channels, &mut store)?;
                set_weights(&[&store], weights)?;
                Kind::Generator(net)
            }
            PackagedModel::Cascade(config) => {
                let (net, [segmentation, regression]) = Cascade::new(config, 0, device)?;
                set_weights(&[&segmentation, &regression], weights)?;
                Kind::Cascade(net)
            }
            PackagedModel::VoxelRegression(_)
            | PackagedModel::BulkDensity(_)
            | PackagedModel::DixonBulkDensity(_) => return Ok(None),
        };
        Ok(Some(Self { kind, precision }))
    }

    /// The outputs with running statistics: without dropout, or with it if there is a seed for it.
    pub(crate) fn forward(&self, mr: &Tensor, dropout_seed: Option<u64>) -> Result<RoiNetOutput, ModelError> {
        let mode = dropout_seed.map_or(Mode::Evaluate, |dropout_seed| Mode::Sample { dropout_seed });
        Ok(match &self.kind {
            Kind::RoiNet(net) => match dropout_seed {
                None => net.forward(mr, self.precision)?,
                Some(seed) => net.forward_sample(mr, self.precision, seed)?,
            },
            Kind::Generator(net) => {
                let whole_hu = khu_from_unit(&net.forward(mr, mode)?)?;
                RoiNetOutput { whole_hu, bone_hu: None, bone_mask: None }
            }
            Kind::Cascade(net) => net.forward(mr, mode)?,
        })
    }
}

/// CT numbers from −1 to 3 kHU as −1 to 1.
pub(crate) fn unit_from_khu(khu: &Tensor) -> candle_core::Result<Tensor> {
    khu.affine(0.5, -0.5)
}

/// The inverse of [`unit_from_khu`].
fn khu_from_unit(unit: &Tensor) -> candle_core::Result<Tensor> {
    unit.affine(2.0, 1.0)
}
