//! Heads as functions of world position, in which bone and air are equally dark in the MR.

use std::ops::ControlFlow;
use std::path::Path;

use synthct_image::{Grid, ImageError, Mask, PointLps, Volume, VoxelIndex};
use synthct_model::candle_core::Device;
use synthct_model::{
    Case, ModelError, ModelPackage, PredictOptions, Prediction, RunMode, TrainConfig, TrainOutcome,
    Unobserved, predict, train,
};
use synthct_prep::AugmentationConfig;

/// A slightly tilted head: scalp, skull, brain and an air cavity off the middle; sizes vary with the subject.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub(crate) subject: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tissue {
    Outside,
    Scalp,
    Skull,
    Brain,
    Cavity,
}

impl Head {
    /// The tissue at a point and the distance to the nearest border between tissues, in mm.
    pub(crate) fn at(self, point: PointLps) -> (Tissue, f64) {
        let variation = f64::from(self.subject % 5) * 0.6;
        // A cylinder whose axis leans to the left going up.
        let (x, y) = (point.x - 0.15 * point.z, point.y);
        let radius = x.hypot(y);
        let to_cavity = (x - 4.0).hypot(y + 6.0) - (5.0 + variation / 2.0);
        let borders = [24.0, 20.0 + variation / 2.0, 15.0 - variation];
        let mut distance = to_cavity.abs();
        for border in borders {
            distance = distance.min((radius - border).abs());
        }
        let tissue = if radius >= borders[0] {
            Tissue::Outside
        } else if radius >= borders[1] {
            Tissue::Scalp
        } else if radius >= borders[2] {
            Tissue::Skull
        } else if to_cavity >= 0.0 {
            Tissue::Brain
        } else {
            Tissue::Cavity
        };
        (tissue, distance)
    }

    pub(crate) fn hu(self, point: PointLps) -> f32 {
        match self.at(point).0 {
            Tissue::Outside | Tissue::Cavity => -1000.0,
            Tissue::Scalp => -80.0,
            Tissue::Skull => 900.0,
            Tissue::Brain => 40.0,
        }
    }

    /// An MR on a grid, with the same little noise at the same place.
    pub(crate) fn mr(self, grid: &Grid) -> Volume<f32> {
        Volume::from_point_fn(grid, |point| {
            let signal = match self.at(point).0 {
                Tissue::Outside | Tissue::Skull | Tissue::Cavity => 8.0,
                Tissue::Scalp => 140.0,
                Tissue::Brain => 90.0,
            };
            let wave = (1.7 * point.x).sin() + (2.3 * point.y).sin() + (3.1 * point.z).sin();
            (signal + 2.0 * wave) as f32
        })
    }

    pub(crate) fn case(self, grid: &Grid) -> Case {
        Case {
            id: format!("head-{}", self.subject),
            mr: vec![self.mr(grid)],
            ct: Volume::from_point_fn(grid, |point| self.hu(point)),
            body: Mask::new(Volume::from_point_fn(grid, |point| self.at(point).0 != Tissue::Outside)),
        }
    }
}

/// An axial grid of 2.5 mm in the plane.
pub(crate) fn axial_grid(n_slices: usize) -> Result<Grid, ImageError> {
    Grid::axis_aligned([26, 25, n_slices], [2.5, 2.5, 4.0], PointLps::new(-31.0, -30.0, -8.0))
}

pub(crate) fn cases(subjects: &[u32], n_slices: usize) -> Result<Vec<Case>, ImageError> {
    let grid = axial_grid(n_slices)?;
    Ok(subjects.iter().map(|&subject| Head { subject }.case(&grid)).collect())
}

/// A preset made small.
pub(crate) fn small_config(preset: &str, epochs: usize) -> Result<TrainConfig, ModelError> {
    let mut config = TrainConfig::preset(preset)?;
    config.epochs = epochs;
    config.batch_size = 4;
    config.seed = 7;
    config.augmentation =
        AugmentationConfig { noise_sd: [0.02; 2], stretch: 0.02, ..AugmentationConfig::mirror_and_noise() };
    config.architecture.set_filters(4);
    Ok(config)
}

/// Trains to the end.
pub(crate) fn train_all(
    train_cases: &[Case],
    validation: &[Case],
    config: &TrainConfig,
    run: &Path,
) -> Result<ModelPackage, Box<dyn std::error::Error>> {
    let outcome = train(train_cases, validation, config, run, RunMode::New, &Device::Cpu, &mut Unobserved)?;
    if outcome != TrainOutcome::Finished {
        return Err("the training did not finish".into());
    }
    Ok(ModelPackage::load(run)?)
}

pub(crate) fn predict_quietly(package: &ModelPackage, mr: &[Volume<f32>]) -> Result<Prediction, ModelError> {
    predict(package, mr, &PredictOptions::standard(), &Device::Cpu, &mut |_| ControlFlow::Continue(()))
}

/// The mean absolute error inside the body, HU.
pub(crate) fn body_mae(case: &Case, sct: &Volume<f32>) -> f64 {
    let errors = case.ct.as_slice().iter().zip(sct.as_slice()).zip(case.body.as_slice());
    let sum: f64 =
        errors.filter(|&(_, &inside)| inside).map(|((ct, sct), _)| f64::from((ct - sct).abs())).sum();
    sum / case.body.count() as f64
}

/// What to call a voxel in a message.
pub(crate) fn place(grid: &Grid, index: VoxelIndex) -> String {
    format!("voxel {index:?} at {:?}", grid.point_of(index))
}
