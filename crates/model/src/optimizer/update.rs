//! The one pass over parameter, gradient and moments that all optimizers share.

use std::sync::{Mutex, PoisonError};

use candle_core::{CpuStorage, Device, InplaceOp2, Layout, Tensor, Var};
use rayon::prelude::*;

/// Values that one thread takes at a time; sums are taken chunk by chunk, so that no result depends on the threads.
const CHUNK: usize = 1 << 14;

/// Running means of a parameter's gradients and of their squares.
#[derive(Clone, Debug)]
pub(super) struct Moments {
    pub(super) shape: Vec<usize>,
    pub(super) mean: Vec<f32>,
    pub(super) square: Vec<f32>,
}

/// The numbers of one step, in which the optimizers differ.
///
/// For each value θ with gradient g: θ ← `parameter_keep`·θ, g ← `gradient_scale`·g + `gradient_decay`·θ,
/// m ← `mean_keep`·m + `mean_add`·g, v ← `square_keep`·v + `square_add`·g²,
/// θ ← θ − (`gradient_step`·g + `mean_step`·m) / (√(`square_correction`·v) + `epsilon`).
#[derive(Clone, Copy, Debug)]
pub(super) struct Coefficients {
    pub(super) parameter_keep: f32,
    pub(super) gradient_scale: f32,
    pub(super) gradient_decay: f32,
    pub(super) mean_keep: f32,
    pub(super) mean_add: f32,
    pub(super) square_keep: f32,
    pub(super) square_add: f32,
    pub(super) square_correction: f32,
    pub(super) gradient_step: f32,
    pub(super) mean_step: f32,
    pub(super) epsilon: f32,
}

impl Coefficients {
    /// Those of step `t` (counted from 1) that follow from the moments' decay alone; nothing moves yet.
    pub(super) fn of_moments(beta1: f64, beta2: f64, epsilon: f64, t: f64) -> Self {
        Self {
            parameter_keep: 1.0,
            gradient_scale: 1.0,
            gradient_decay: 0.0,
            mean_keep: beta1 as f32,
            mean_add: (1.0 - beta1) as f32,
            square_keep: beta2 as f32,
            square_add: (1.0 - beta2) as f32,
            square_correction: (1.0 / (1.0 - beta2.powf(t))) as f32,
            gradient_step: 0.0,
            mean_step: 0.0,
            epsilon: epsilon as f32,
        }
    }

    /// One step of some values.
    fn step(self, values: &mut [f32], gradient: &[f32], mean: &mut [f32], square: &mut [f32]) {
        for (((value, &g), m), v) in values.iter_mut().zip(gradient).zip(mean).zip(square) {
            let kept = self.parameter_keep * *value;
            let g = self.gradient_scale * g + self.gradient_decay * kept;
            *m = self.mean_keep * *m + self.mean_add * g;
            *v = self.square_keep * *v + self.square_add * g * g;
            let scale = (*v * self.square_correction).sqrt() + self.epsilon;
            *value = kept - (self.gradient_step * g + self.mean_step * *m) / scale;
        }
    }
}

impl Moments {
    /// Zero moments for a parameter.
    pub(super) fn new(var: &Var) -> Self {
        let n = var.elem_count();
        Self { shape: var.dims().to_vec(), mean: vec![0.0; n], square: vec![0.0; n] }
    }

    /// One step of a parameter: in place on the CPU; from any other device it goes by way of the CPU.
    pub(super) fn step(
        &mut self,
        var: &Var,
        gradient: &Tensor,
        coefficients: Coefficients,
    ) -> candle_core::Result<()> {
        let fused = FusedStep { moments: Mutex::new(self), coefficients };
        if var.device().is_cpu() {
            return var.inplace_op2(gradient, &fused);
        }
        let parameter = var.as_detached_tensor().to_device(&Device::Cpu)?;
        parameter.inplace_op2(&gradient.to_device(&Device::Cpu)?, &fused)?;
        var.set(&parameter.to_device(var.device())?)
    }
}

/// [`Coefficients::step`] on a parameter's own memory.
struct FusedStep<'a> {
    /// The operation's interface hands out a shared reference only.
    moments: Mutex<&'a mut Moments>,
    coefficients: Coefficients,
}

impl InplaceOp2 for FusedStep<'_> {
    fn name(&self) -> &'static str {
        "optimizer-step"
    }

    fn cpu_fwd(
        &self,
        parameter: &mut CpuStorage,
        parameter_layout: &Layout,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
    ) -> candle_core::Result<()> {
        let (Some((start, end)), Some((g_start, g_end))) =
            (parameter_layout.contiguous_offsets(), gradient_layout.contiguous_offsets())
        else {
            candle_core::bail!("a parameter or its gradient is not contiguous");
        };
        let CpuStorage::F32(values) = parameter else {
            candle_core::bail!("an optimizer steps parameters of 32-bit floats only");
        };
        let values = &mut values[start..end];
        let gradient = &gradient.as_slice::<f32>()?[g_start..g_end];
        let mut moments = self.moments.lock().unwrap_or_else(PoisonError::into_inner);
        let Moments { mean, square, .. } = &mut **moments;
        if values.len() != gradient.len() || values.len() != mean.len() {
            candle_core::bail!(
                "a parameter of {} values has a gradient of {} and moments of {}",
                values.len(),
                gradient.len(),
                mean.len()
            );
        }
        values
            .par_chunks_mut(CHUNK)
            .zip(gradient.par_chunks(CHUNK))
            .zip(mean.par_chunks_mut(CHUNK))
            .zip(square.par_chunks_mut(CHUNK))
            .for_each(|(((values, gradient), mean), square)| {
                self.coefficients.step(values, gradient, mean, square);
            });
        Ok(())
    }
}

/// The sum of squares of a tensor's values, added in a fixed order.
pub(super) fn sum_of_squares(tensor: &Tensor) -> candle_core::Result<f64> {
    let values = tensor.flatten_all()?.to_vec1::<f32>()?;
    let sums: Vec<f64> = values
        .par_chunks(CHUNK)
        .map(|values| values.iter().map(|&value| f64::from(value).powi(2)).sum())
        .collect();
    Ok(sums.iter().sum())
}
