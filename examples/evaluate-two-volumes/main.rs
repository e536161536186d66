//! Compares a synthetic CT with a CT.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::path::PathBuf;

use anyhow::{Context, Result};
use synthct_eval::evaluate_sct;
use synthct_io::{read_mask, read_volume};

fn main() -> Result<()> {
    let mut paths = std::env::args_os().skip(1).map(PathBuf::from);
    let mut next = || paths.next().context("usage: evaluate-two-volumes CT SCT MASK");
    let ct = read_volume(&next()?)?;
    let sct = read_volume(&next()?)?;
    let body = read_mask(&next()?)?;

    let metrics = evaluate_sct(&ct, &sct, &body)?;
    for (region, mae) in metrics.mae_hu.named() {
        match mae {
            Some(mae) => println!("MAE {region:<12} {mae:8.2} HU"),
            None => println!("MAE {region:<12} none of it in the CT"),
        }
    }
    if let Some(ssim) = metrics.ssim {
        println!("SSIM             {ssim:8.4}");
    }
    Ok(())
}
