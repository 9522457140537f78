//! A matrix in the memory of a device: packed there for its kernels, or none where this crate is built
//! without them.

#[cfg(not(feature = "gpu"))]
mod absent;
#[cfg(feature = "gpu")]
mod held;

#[cfg(not(feature = "gpu"))]
pub use absent::DeviceMatrix;
#[cfg(feature = "gpu")]
pub use held::DeviceMatrix;
