//! What the network returns, and how its outputs become one image.

use candle_core::Tensor;

use crate::NnError;

/// The outputs of a [`RoiNet`](super::RoiNet), each `[N, 1, H, W]`.
#[derive(Clone, Debug)]
pub struct RoiNetOutput {
    /// CT numbers of the whole image in kHU (HU / 1000).
    pub whole_hu: Tensor,
    /// CT numbers inside bone in kHU; meaningless elsewhere.
    pub bone_hu: Option<Tensor>,
    /// The probability that a pixel is bone, in [0, 1].
    pub bone_mask: Option<Tensor>,
}

impl RoiNetOutput {
    /// Bone begins at this probability.
    pub const BONE_PROBABILITY: f64 = 0.5;
    /// Bone begins at this CT number (250 HU), in kHU.
    pub const BONE_KHU: f64 = 0.25;

    /// The synthetic CT in kHU: inside bone the bone HU, elsewhere the whole-image HU. `[N, 1, H, W]`.
    ///
    /// Bone is where `bone_mask` ≥ 0.5. Values are selected, not mixed: what `bone_hu` holds outside bone, even
    /// NaN, does not matter, and a NaN in the mask is not bone.
    /// Without a mask head (2TN, for which the paper does not say it) bone is where `whole_hu` ≥ 0.25 kHU; without
    /// a bone HU head the whole-image HU is the answer.
    ///
    /// # Errors
    /// [`NnError::Tensor`] if the outputs' shapes differ.
    pub fn aggregate(&self) -> Result<Tensor, NnError> {
        let Some(bone_hu) = &self.bone_hu else {
            return Ok(self.whole_hu.clone());
        };
        let bone = match &self.bone_mask {
            Some(mask) => mask.ge(Self::BONE_PROBABILITY)?,
            None => self.whole_hu.ge(Self::BONE_KHU)?,
        };
        Ok(bone.where_cond(bone_hu, &self.whole_hu)?)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn row(values: [f32; 4]) -> Result<Tensor, NnError> {
        Ok(Tensor::from_slice(&values, (1, 1, 1, 4), &Device::Cpu)?)
    }

    #[track_caller]
    fn check(output: &RoiNetOutput, expected: [f32; 4]) -> Result<(), NnError> {
        let found: Vec<u32> =
            output.aggregate()?.flatten_all()?.to_vec1::<f32>()?.into_iter().map(f32::to_bits).collect();
        assert_eq!(found, expected.map(f32::to_bits));
        Ok(())
    }

    #[test]
    fn bone_replaces_the_whole_image_inside_the_mask_only() -> Result<(), NnError> {
        let whole_hu = row([0.1, 0.2, 0.3, 0.4])?;
        let bone_hu = Some(row([1.0, f32::NAN, 3.0, 4.0])?);
        let bone_mask = Some(row([0.5, 0.499, f32::NAN, 1.0])?);
        check(
            &RoiNetOutput { whole_hu: whole_hu.clone(), bone_hu: bone_hu.clone(), bone_mask },
            [1.0, 0.2, 0.3, 4.0],
        )?;
        check(&RoiNetOutput { whole_hu: whole_hu.clone(), bone_hu, bone_mask: None }, [0.1, 0.2, 3.0, 4.0])?;
        check(&RoiNetOutput { whole_hu, bone_hu: None, bone_mask: None }, [0.1, 0.2, 0.3, 0.4])
    }
}
