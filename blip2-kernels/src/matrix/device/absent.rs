//! What stands for matrices in a device's memory where this crate is built without kernels for any.

use burn::tensor::Device;

use crate::matrix::packed::{PackedFormat, PackedMatrix};

/// A matrix that lies packed in a device's memory: none, without the feature `gpu`.
#[derive(Debug, Clone)]
pub enum DeviceMatrix {}

impl DeviceMatrix {
    pub(crate) fn new(_: &PackedMatrix, _: &Device) -> Option<Self> {
        None
    }

    pub(crate) fn reads(_: PackedFormat) -> bool {
        false
    }

    /// The number of outputs.
    pub fn outputs(&self) -> usize {
        match *self {}
    }

    /// The number of inputs.
    pub fn inputs(&self) -> usize {
        match *self {}
    }

    /// The number format.
    pub fn format(&self) -> PackedFormat {
        match *self {}
    }

    pub(crate) fn to_host(&self) -> Option<PackedMatrix> {
        match *self {}
    }

    pub(crate) fn device(&self) -> Device {
        match *self {}
    }
}
