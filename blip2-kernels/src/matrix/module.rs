//! A packed matrix as a part of a Burn module: one without parameters, since it cannot be trained.

use burn::{
    module::{
        Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor,
    },
    tensor::Device,
};

use super::{device::DeviceMatrix, packed::PackedMatrix};

macro_rules! module_without_parameters {
    ($matrix:ty) => {
        impl Module for $matrix {
            fn visit<V: ModuleVisitor>(&self, _: &mut V) {}

            fn map<M: ModuleMapper>(self, _: &mut M) -> Self {
                self
            }

            fn to_device(self, _: &Device) -> Self {
                self
            }

            fn fork(self, _: &Device) -> Self {
                self
            }

            fn collect_devices(&self, devices: Devices) -> Devices {
                devices
            }

            fn materialize(self) -> Self {
                self
            }

            fn valid(&self) -> Self {
                self.clone()
            }

            fn train(self) -> Self {
                self
            }
        }

        impl ModuleDisplayDefault for $matrix {
            fn content(&self, content: Content) -> Option<Content> {
                content.add_formatted(&format!("{self:?}")).optional()
            }
        }

        impl ModuleDisplay for $matrix {}
    };
}

module_without_parameters!(PackedMatrix);
module_without_parameters!(DeviceMatrix);
