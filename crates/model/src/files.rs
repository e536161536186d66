//! Files that are written aside and renamed, and tensors in them.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::{Path, PathBuf};

use atomic_write_file::AtomicWriteFile;
use candle_core::{DType, Device, Tensor};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Serialize, de::DeserializeOwned};

use crate::ModelError;

/// The one key of a safetensors header's text: several would come out in random order.
const HEADER_KEY: &str = "synthct";

pub(crate) fn io_error(
    action: &'static str,
    path: &Path,
) -> impl FnOnce(std::io::Error) -> ModelError + use<> {
    let path: PathBuf = path.to_owned();
    move |source| ModelError::Io { action, path, source }
}

/// Writes a file that is either wholly there or not at all.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), ModelError> {
    let mut file = AtomicWriteFile::open(path).map_err(io_error("write", path))?;
    file.write_all(bytes).map_err(io_error("write", path))?;
    file.commit().map_err(io_error("write", path))
}

/// Writes a value as JSON that a person can read.
pub(crate) fn to_json(value: &impl Serialize) -> Vec<u8> {
    let mut text =
        serde_json::to_vec_pretty(value).expect("because our configurations and records are plain data");
    text.push(b'\n');
    text
}

/// Reads JSON; the error tells what is wrong in words.
pub(crate) fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, ModelError> {
    std::fs::read(path).map_err(io_error("read", path))
}

/// Named tensors of 32-bit floats, and a text, as the bytes of a safetensors file.
///
/// The same content gives the same bytes.
pub(crate) fn tensors_to_bytes(
    tensors: &BTreeMap<String, Tensor>,
    text: Option<String>,
) -> Result<Vec<u8>, ModelError> {
    let mut data = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        let values = tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        data.push((name, tensor.dims().to_vec(), bytes));
    }
    let mut views = Vec::with_capacity(data.len());
    for (name, shape, bytes) in &data {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes).map_err(candle_core::Error::from)?;
        views.push((name.as_str(), view));
    }
    let header = text.map(|text| HashMap::from([(HEADER_KEY.to_owned(), text)]));
    Ok(safetensors::serialize(views, header).map_err(candle_core::Error::from)?)
}

/// The named tensors of 32-bit floats of a safetensors file and its text; the error tells what is wrong in words.
pub(crate) fn tensors_from_bytes(bytes: &[u8]) -> Result<(BTreeMap<String, Tensor>, Option<String>), String> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
    let text = header.metadata().as_ref().and_then(|entries| entries.get(HEADER_KEY).cloned());
    let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let mut tensors = BTreeMap::new();
    for (name, view) in file.tensors() {
        if view.dtype() != Dtype::F32 {
            return Err(format!("tensor `{name}` holds {:?}, expected 32-bit floats", view.dtype()));
        }
        let values: Vec<f32> = view
            .data()
            .chunks_exact(4)
            .map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
            .collect();
        let tensor =
            Tensor::from_vec(values, view.shape(), &Device::Cpu).map_err(|error| error.to_string())?;
        tensors.insert(name, tensor);
    }
    Ok((tensors, text))
}

/// The first tensor with an infinite or NaN value, by name.
pub(crate) fn first_not_finite(tensors: &BTreeMap<String, Tensor>) -> Result<Option<&str>, ModelError> {
    for (name, tensor) in tensors {
        if tensor.flatten_all()?.to_vec1::<f32>()?.iter().any(|value| !value.is_finite()) {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_come_back_bit_for_bit_and_alike() -> Result<(), Box<dyn std::error::Error>> {
        let values = [1.0_f32, -0.0, f32::MIN_POSITIVE / 2.0, 1e30, 0.1, 3.0];
        let mut tensors = BTreeMap::new();
        for name in ["b", "a", "c/d"] {
            tensors.insert(name.to_owned(), Tensor::from_slice(&values, (2, 3), &Device::Cpu)?);
        }
        let bytes = tensors_to_bytes(&tensors, Some("text".to_owned()))?;
        assert_eq!(bytes, tensors_to_bytes(&tensors, Some("text".to_owned()))?);
        let (back, text) = tensors_from_bytes(&bytes)?;
        assert_eq!(text.as_deref(), Some("text"));
        for (name, tensor) in &tensors {
            let bits = |t: &Tensor| -> Result<Vec<u32>, candle_core::Error> {
                Ok(t.flatten_all()?.to_vec1::<f32>()?.iter().map(|v| v.to_bits()).collect())
            };
            assert_eq!(back[name].dims(), tensor.dims());
            assert_eq!(bits(&back[name])?, bits(tensor)?);
        }
        for n in [0, 7, bytes.len() / 2, bytes.len() - 1] {
            assert!(tensors_from_bytes(&bytes[..n]).is_err(), "cut to {n} bytes");
        }
        Ok(())
    }
}
