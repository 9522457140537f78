//! Interpolated positions, kept.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::{
    module::{
        Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor,
    },
    tensor::{Device, Tensor},
};

/// How many grids are remembered. A table of ViT-g's takes some megabytes, and a program that is
/// given pictures of any size must not grow by one for each.
const CAPACITY: usize = 4;

/// The positions of the grids of patches that were asked for last, shared by a model's clones and
/// threads.
///
/// They follow from a parameter, so whatever may change or move the parameters of a module (an
/// optimiser's step, a record, another device) leaves it with an empty cache.
#[derive(Clone, Debug, Default)]
pub(crate) struct PositionCache(Arc<Mutex<Vec<Entry>>>);

#[derive(Clone, Debug)]
struct Entry {
    grid: [usize; 2],
    positions: Tensor<3>,
}

impl PositionCache {
    /// The positions of `grid`, made by `make` if they are not remembered.
    ///
    /// The lock is not held while they are made: pictures of other sizes, in other threads, need not
    /// wait for it, and `make` may use threads that themselves come here. Two threads that are given
    /// one new grid at a time may both make it; the numbers are the same, and the first stays.
    pub(crate) fn get(&self, grid: [usize; 2], make: impl FnOnce() -> Tensor<3>) -> Tensor<3> {
        if let Some(positions) = find(&self.entries(), grid) {
            return positions;
        }
        let positions = make();
        let mut entries = self.entries();
        if let Some(first) = find(&entries, grid) {
            return first;
        }
        if entries.len() == CAPACITY {
            entries.remove(0);
        }
        entries.push(Entry {
            grid,
            positions: positions.clone(),
        });
        positions
    }

    /// What is remembered. A thread that panicked with the lock left whole entries, at worst one
    /// fewer.
    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn find(entries: &[Entry], grid: [usize; 2]) -> Option<Tensor<3>> {
    let entry = entries.iter().find(|entry| entry.grid == grid)?;
    Some(entry.positions.clone())
}

impl Module for PositionCache {
    fn collect_devices(&self, devices: Devices) -> Devices {
        devices
    }

    fn fork(self, _: &Device) -> Self {
        Self::default()
    }

    fn to_device(self, _: &Device) -> Self {
        Self::default()
    }

    fn train(self) -> Self {
        Self::default()
    }

    fn valid(&self) -> Self {
        Self::default()
    }

    fn materialize(self) -> Self {
        Self::default()
    }

    fn visit<V: ModuleVisitor>(&self, _: &mut V) {}

    fn map<M: ModuleMapper>(self, _: &mut M) -> Self {
        Self::default()
    }
}

impl ModuleDisplayDefault for PositionCache {
    fn content(&self, content: Content) -> Option<Content> {
        Some(content)
    }
}

impl ModuleDisplay for PositionCache {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_grid_is_made_once_and_the_oldest_is_dropped() {
        let device = Device::flex();
        let cache = PositionCache::default();
        let mut made = Vec::new();
        let mut ask = |rows| {
            let positions = cache.get([rows, 1], || {
                made.push(rows);
                Tensor::zeros([1, 1 + rows, 2], &device)
            });
            assert_eq!(positions.dims(), [1, 1 + rows, 2]);
        };
        [1, 2, 1, 3, 4, 2, 5, 2, 1].into_iter().for_each(&mut ask);
        assert_eq!(made, [1, 2, 3, 4, 5, 1]);
    }

    /// With the lock held, the second would wait for ever.
    #[test]
    fn positions_can_be_asked_for_while_others_are_made() {
        let device = Device::flex();
        let cache = PositionCache::default();
        let ones = || Tensor::ones([1, 2, 1], &device);
        let positions = cache.get([1, 1], || cache.get([2, 1], ones) + cache.get([1, 1], ones));
        // Who made a grid first gave it to all.
        assert_eq!(positions.into_data().try_to_vec::<f32>().unwrap(), [1.0; 2]);
        assert_eq!(cache.entries().len(), 2);
    }

    #[test]
    fn clones_share_and_changed_modules_start_empty() {
        let device = Device::flex();
        let cache = PositionCache::default();
        let ask = |cache: &PositionCache, value: f32| {
            let make = || Tensor::full([1, 2, 1], value, &device);
            let data = cache.get([1, 1], make).into_data();
            data.try_to_vec::<f32>().unwrap()[0]
        };
        assert_eq!(ask(&cache, 1.0), 1.0);
        assert_eq!(ask(&cache.clone(), 2.0), 1.0);
        assert_eq!(ask(&cache.clone().to_device(&device), 3.0), 3.0);
        assert_eq!(ask(&cache.valid(), 4.0), 4.0);
        assert_eq!(ask(&cache, 5.0), 1.0);
    }
}
