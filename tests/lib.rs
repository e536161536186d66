//! What the cross-crate tests share: one coarse phantom.

use anyhow::Result;
use sct::phantom::{PhantomCase, PhantomConfig, generate};

/// A head at 6 mm, the same each time.
///
/// # Errors
/// None unless the phantom itself is broken.
pub fn coarse_head() -> Result<PhantomCase> {
    Ok(generate(&PhantomConfig { spacing_mm: [6.0; 3], ..PhantomConfig::head() }, 11)?)
}
