//! GGUF: the same model with its matrices in Q8_0.
//!
//! The engine's inner loop is fast for Q8_0 (whole bytes, one scale for 32 numbers) and slow for formats
//! with an offset such as Q4_1. Names, shapes and metadata stay; norms and other vectors stay as they are.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::Path;

use candle_core::Device;
use candle_core::quantized::gguf_file::{self, Content, Value};
use candle_core::quantized::{GgmlDType, QTensor};

use super::{ConvertError, Watch};

/// llama.cpp's number for "mostly Q8_0" in `general.file_type`.
const FILE_TYPE_Q8_0: u32 = 7;
/// The input's name in the folder.
const INPUT: &str = "model.gguf.in";

impl From<candle_core::Error> for ConvertError {
    fn from(error: candle_core::Error) -> Self {
        ConvertError::Shape(format!("the gguf file cannot be converted: {error}"))
    }
}

/// Reads `model.gguf.in` in `from`, writes the GGUF file `to`.
pub(super) fn requantise(from: &Path, to: &Path, watch: &mut dyn Watch) -> Result<(), ConvertError> {
    let path = from.join(INPUT);
    let name = path.display().to_string();
    let file = File::open(&path).map_err(ConvertError::io(&*name))?;
    let total = file.metadata().map_err(ConvertError::io(&*name))?.len();
    let mut file = BufReader::with_capacity(1 << 18, file);
    let content = Content::read(&mut file)?;

    let tensors = requantised(&content, &mut file, total, watch)?;
    let metadata = metadata(&content);

    let name = to.display().to_string();
    let file = File::create(to).map_err(ConvertError::io(&*name))?;
    let mut out = BufWriter::with_capacity(1 << 18, file);
    let metadata: Vec<_> = metadata.iter().map(|(key, value)| (&**key, value)).collect();
    let tensors: Vec<_> = tensors.iter().map(|(key, tensor)| (&**key, tensor)).collect();
    gguf_file::write(&mut out, &metadata, &tensors)?;
    out.flush().map_err(ConvertError::io(&*name))?;
    out.get_ref().sync_all().map_err(ConvertError::io(name))
}

/// The tensors in the order of the file; one at a time is held as f32.
fn requantised(
    content: &Content,
    file: &mut BufReader<File>,
    total: u64,
    watch: &mut dyn Watch,
) -> Result<Vec<(String, QTensor)>, ConvertError> {
    let mut order: Vec<_> = content.tensor_infos.iter().map(|(name, info)| (info.offset, name)).collect();
    order.sort_unstable();
    let mut tensors = Vec::with_capacity(order.len());
    for (offset, name) in order {
        if !watch.step(offset.min(total), total) {
            return Err(ConvertError::Stopped);
        }
        let tensor = content.tensor(file, name, &Device::Cpu)?;
        let rows = tensor.shape().dims();
        let matrix = rows.len() == 2 && rows[1] % GgmlDType::Q8_0.block_size() == 0;
        let tensor = if matrix && tensor.dtype() != GgmlDType::F32 && tensor.dtype() != GgmlDType::Q8_0 {
            QTensor::quantize(&tensor.dequantize(&Device::Cpu)?, GgmlDType::Q8_0)?
        } else {
            tensor
        };
        tensors.push((name.clone(), tensor));
    }
    Ok(tensors)
}

/// Sorted, so that the same input gives the same bytes; with the new type of file.
fn metadata(content: &Content) -> Vec<(String, Value)> {
    let mut all: Vec<_> = content
        .metadata
        .iter()
        .map(|(key, value)| match key.as_str() {
            "general.file_type" => (key.clone(), Value::U32(FILE_TYPE_Q8_0)),
            _ => (key.clone(), value.clone()),
        })
        .collect();
    all.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    all
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use candle_core::Tensor;

    use super::*;

    #[test]
    fn matrices_become_q8_0_and_all_else_stays() {
        let folder = tempfile::tempdir().unwrap();
        let numbers: Vec<f32> = (0..128).map(|i| (i as f32 * 0.7).sin()).collect();
        let matrix = Tensor::from_vec(numbers.clone(), (2, 64), &Device::Cpu).unwrap();
        let vector = Tensor::from_vec(vec![1.5_f32; 64], 64, &Device::Cpu).unwrap();
        let matrix = QTensor::quantize(&matrix, GgmlDType::Q4_1).unwrap();
        let vector = QTensor::quantize(&vector, GgmlDType::F32).unwrap();
        let coarse = matrix.dequantize(&Device::Cpu).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let (kind, arch) = (Value::U32(3), Value::String("llama".into()));
        let mut file = File::create(folder.path().join(INPUT)).unwrap();
        gguf_file::write(
            &mut file,
            &[("general.file_type", &kind), ("general.architecture", &arch)],
            &[("token_embd.weight", &matrix), ("output_norm.weight", &vector)],
        )
        .unwrap();
        drop(file);

        let out = folder.path().join("model.gguf");
        assert!(matches!(requantise(folder.path(), &out, &mut |_, _| false), Err(ConvertError::Stopped)));
        requantise(folder.path(), &out, &mut |_, _| true).unwrap();

        let mut file = File::open(&out).unwrap();
        let content = Content::read(&mut file).unwrap();
        assert_eq!(content.metadata["general.file_type"].to_u32().unwrap(), FILE_TYPE_Q8_0);
        assert_eq!(content.metadata["general.architecture"].to_string().unwrap(), "llama");
        let norm = content.tensor(&mut file, "output_norm.weight", &Device::Cpu).unwrap();
        assert_eq!(norm.dtype(), GgmlDType::F32);
        let matrix = content.tensor(&mut file, "token_embd.weight", &Device::Cpu).unwrap();
        assert_eq!(matrix.dtype(), GgmlDType::Q8_0);
        assert_eq!(matrix.shape().dims(), [2, 64]);
        let fine = matrix.dequantize(&Device::Cpu).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        // Q8_0 adds at most half of its step (1/127 of the largest) to what Q4_1 left.
        assert!(coarse.iter().zip(&fine).all(|(a, b)| (a - b).abs() < 0.5 / 127.0 * 1.01 + 1e-3));
    }

    #[test]
    fn garbage_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(INPUT), b"GGUF\x03\0\0\0garbage").unwrap();
        let out = folder.path().join("model.gguf");
        assert!(matches!(requantise(folder.path(), &out, &mut |_, _| true), Err(ConvertError::Shape(_))));
    }
}
