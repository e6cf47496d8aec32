//! The token vectors of a static model, read from a safetensors file.
//! Promise: half-precision in memory whatever the file holds, added up in single precision.
//! Never keeps the file's bytes and never hands out a row that does not exist.

use std::path::Path;

use half::f16;
use half::slice::HalfFloatSliceExt;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::LocalModelError;

/// Rows of vectors, one for each token id.
#[derive(Debug)]
pub(super) struct Matrix {
    values: Vec<f16>,
    n_columns: usize,
}

impl Matrix {
    /// Takes tensor `name` of two dimensions, of 16 or 32 bit floats.
    pub(super) fn read(tensors: &SafeTensors<'_>, name: &str, file: &Path) -> Result<Self, LocalModelError> {
        let tensor = tensors.tensor(name).map_err(|error| unusable(file, error.to_string()))?;
        let &[n_rows, n_columns] = tensor.shape() else {
            return Err(unusable(file, format!("tensor {name} has shape {:?}, expected two axes", tensor.shape())));
        };
        if n_rows == 0 || n_columns == 0 {
            return Err(unusable(file, format!("tensor {name} is empty ({n_rows} x {n_columns})")));
        }
        let values = match tensor.dtype() {
            Dtype::F16 => tensor.data().as_chunks().0.iter().map(|bytes| f16::from_le_bytes(*bytes)).collect(),
            _ => floats(&tensor, name, file)?.iter().map(|value| f16::from_f32(*value)).collect::<Vec<_>>(),
        };
        if values.iter().any(|value| !value.is_finite()) {
            return Err(unusable(file, format!("tensor {name} holds values beyond half precision or not finite")));
        }
        Ok(Self { values, n_columns })
    }

    pub(super) fn n_rows(&self) -> usize {
        self.values.len() / self.n_columns
    }

    pub(super) fn n_columns(&self) -> usize {
        self.n_columns
    }

    /// Adds `weight` times row `row` to `sum`, by way of `scratch`; both have as many values as a row. Rows past
    /// the end are the last one, as in the reference implementation.
    pub(super) fn add_row(&self, row: usize, weight: f32, scratch: &mut [f32], sum: &mut [f32]) {
        let start = row.min(self.n_rows() - 1) * self.n_columns;
        self.values[start..start + self.n_columns].convert_to_f32_slice(scratch);
        for (total, value) in sum.iter_mut().zip(scratch.iter()) {
            *total += weight * value;
        }
    }
}

/// The values of a tensor of 16, 32 or 64 bit floats.
pub(super) fn floats(tensor: &TensorView<'_>, name: &str, file: &Path) -> Result<Vec<f32>, LocalModelError> {
    let data = tensor.data();
    match tensor.dtype() {
        Dtype::F16 => Ok(data.as_chunks().0.iter().map(|bytes| f16::from_le_bytes(*bytes).to_f32()).collect()),
        Dtype::F32 => Ok(data.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()),
        #[allow(clippy::cast_possible_truncation, reason = "single precision is what the sums are made in")]
        Dtype::F64 => Ok(data.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes) as f32).collect()),
        other => Err(unusable(file, format!("tensor {name} is of type {other:?}, expected F16, F32 or F64"))),
    }
}

/// The values of a tensor of row numbers.
pub(super) fn rows(tensor: &TensorView<'_>, name: &str, file: &Path) -> Result<Vec<u32>, LocalModelError> {
    let data = tensor.data();
    let rows: Option<Vec<u32>> = match tensor.dtype() {
        Dtype::I32 => data.as_chunks().0.iter().map(|bytes| u32::try_from(i32::from_le_bytes(*bytes)).ok()).collect(),
        Dtype::I64 => data.as_chunks().0.iter().map(|bytes| u32::try_from(i64::from_le_bytes(*bytes)).ok()).collect(),
        other => {
            return Err(unusable(file, format!("tensor {name} is of type {other:?}, expected I32 or I64")));
        }
    };
    rows.ok_or_else(|| unusable(file, format!("tensor {name} holds a negative row number")))
}

/// An error about `file`.
pub(super) fn unusable(file: &Path, problem: String) -> LocalModelError {
    LocalModelError::Unusable { file: file.to_owned(), problem }
}
