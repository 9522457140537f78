//! Devices by name.

use burn::tensor::Device;

use crate::error::Blip2Error;

/// The names that [`device_by_name`] knows in this build.
pub fn device_names() -> Vec<&'static str> {
    [
        ("flex", cfg!(feature = "flex")),
        ("ndarray", cfg!(feature = "ndarray")),
        ("wgpu", cfg!(feature = "wgpu")),
        ("vulkan", cfg!(feature = "vulkan")),
        ("metal", cfg!(feature = "metal")),
        ("webgpu", cfg!(feature = "webgpu")),
        ("cuda", cfg!(feature = "cuda")),
        ("rocm", cfg!(feature = "rocm")),
    ]
    .into_iter()
    .filter_map(|(name, enabled)| enabled.then_some(name))
    .collect()
}

/// The device called `name`: `flex`, `ndarray`, `wgpu`, `vulkan`, `metal`, `webgpu`, `cuda` or `rocm`, each if
/// the cargo feature of that name is enabled.
///
/// The GPU devices take the adapter that wgpu prefers, or the first that CUDA or ROCm has; for another one
/// build the [`Device`] yourself.
///
/// ```
/// use blip2_core::device_by_name;
///
/// assert!(device_by_name("flex").is_ok());
/// assert!(device_by_name("abacus").is_err());
/// ```
///
/// # Errors
///
/// [`Blip2Error::Device`] for a name that this build does not have, naming those it has.
pub fn device_by_name(name: &str) -> Result<Device, Blip2Error> {
    match name {
        #[cfg(feature = "flex")]
        "flex" => Ok(Device::flex()),
        #[cfg(feature = "ndarray")]
        #[allow(deprecated)] // deprecated upstream, kept here as an option
        "ndarray" => Ok(Device::ndarray()),
        #[cfg(feature = "wgpu")]
        "wgpu" => Ok(Device::wgpu(Default::default())),
        #[cfg(feature = "vulkan")]
        "vulkan" => Ok(Device::vulkan(Default::default())),
        #[cfg(feature = "metal")]
        "metal" => Ok(Device::metal(Default::default())),
        #[cfg(feature = "webgpu")]
        "webgpu" => Ok(Device::webgpu(Default::default())),
        #[cfg(feature = "cuda")]
        "cuda" => Ok(Device::cuda(0)),
        #[cfg(feature = "rocm")]
        "rocm" => Ok(Device::rocm(0)),
        _ => {
            const KNOWN: [&str; 8] = [
                "flex", "ndarray", "wgpu", "vulkan", "metal", "webgpu", "cuda", "rocm",
            ];
            let known = KNOWN.contains(&name);
            let hint = if known {
                format!("; rebuild with `--features {name}`")
            } else {
                String::new()
            };
            let available = device_names().join(", ");
            Err(Blip2Error::Device {
                name: name.to_string(),
                available,
                hint,
            })
        }
    }
}

/// The first CPU device of this build.
pub(crate) fn default_device() -> Result<Device, Blip2Error> {
    device_by_name(device_names().first().copied().unwrap_or("flex"))
}

/// Whether what `device` holds is in this machine's own memory.
pub(crate) fn is_host(device: &Device) -> bool {
    device_names()
        .into_iter()
        .filter(|name| ["flex", "ndarray"].contains(name))
        .any(|name| device_by_name(name).is_ok_and(|host| host == device.clone().inner()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_this_build_is_a_device_and_no_other() {
        for name in device_names() {
            assert!(device_by_name(name).is_ok(), "{name}");
        }
        assert!(is_host(&default_device().unwrap()));
        let error = device_by_name("abacus").unwrap_err().to_string();
        assert!(
            error.contains("abacus") && !error.contains("rebuild"),
            "{error}"
        );
    }
}
