//! Trains on a cohort folder and predicts one of its subjects.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::ops::ControlFlow;
use std::path::PathBuf;

use anyhow::{Context, Result};
use sct::Device;
use sct::model::{Architecture, RunMode, TrainEvent};
use sct::pipeline::load_cohort;
use sct::prelude::*;

fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let usage = "usage: train-on-folder COHORT RUN";
    let (cohort, run) = (arguments.next().context(usage)?, arguments.next().context(usage)?);

    let mut config = TrainConfig::preset("3tn")?;
    config.epochs = 2;
    if let Architecture::RoiNet(network) = &mut config.architecture {
        network.filters = 4;
    }

    let mut cases = load_cohort(&cohort, &config.channels, |_| true)?;
    let validation = cases.split_off(cases.len().saturating_sub(1));
    let mut watch = |event: &TrainEvent| {
        if let TrainEvent::EpochEnd { epoch, train, validation, .. } = event {
            println!(
                "epoch {epoch}: training loss {:.3}, validation loss {:.3}",
                train.total, validation.total
            );
        }
        ControlFlow::Continue(())
    };
    let _ = train(&cases, &validation, &config, &run, RunMode::New, &Device::Cpu, &mut watch)?;

    let package = ModelPackage::load(&run)?;
    let case = validation.first().context("the cohort is empty")?;
    let mut go_on = |_| ControlFlow::Continue(());
    let sct = predict(&package, &case.mr, &PredictOptions::standard(), &Device::Cpu, &mut go_on)?.sct;
    let mae = evaluate_sct(&case.ct, &sct, &case.body)?.mae_hu.body;
    println!("MAE in the body of {}: {:.0} HU", case.id, mae.context("the body is empty")?);
    Ok(())
}
