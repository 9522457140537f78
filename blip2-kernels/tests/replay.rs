//! Work that was recorded against the same work done as it is described: on whatever device wgpu finds.

#![cfg(feature = "gpu")]

#[path = "gpu/common.rs"]
mod common;

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
};

use blip2_kernels::{
    Activation, KvCache, Precision, RandomWeights, Weights,
    device::Watch,
    replay::{Rehearsal, Replay},
    split_heads,
};
use burn::tensor::{Device, Tensor};

use common::{gpu, layer, near, random};

/// For tests that count what the process makes its device do, which nobody else may do meanwhile.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Layers whose result depends on the input alone.
fn work(device: &Device) -> impl Fn(Tensor<3>) -> Tensor<3> + Clone {
    let source = RandomWeights::new(3, 0.1);
    let norm = Weights::new(&source, device).layer_norm("norm", 64, 1e-5);
    let [up, down] = [[96, 64], [64, 96]].map(|shape| layer(device, Precision::Int8, shape));
    move |x| {
        let inner = up.forward_activated(norm.forward(x.clone()), Activation::Gelu);
        down.forward_onto(inner, x)
    }
}

fn record(x: &Tensor<3>, work: impl Fn(Tensor<3>) -> Tensor<3>) -> Replay<3, 3> {
    let work = |inputs: Vec<Tensor<3>>| inputs.into_iter().next().map(&work);
    let rehearsal = Rehearsal::new(std::slice::from_ref(x)).unwrap();
    let first = work(rehearsal.inputs()).unwrap();
    near(first, work(vec![x.clone()]).unwrap().to_device(&gpu()));
    rehearsal.record(work).unwrap()
}

#[test]
fn recorded_work_is_done_again_with_other_numbers() {
    let _alone = alone();
    let device = gpu();
    let work = work(&device);
    let inputs: Vec<_> = (0..4)
        .map(|_| random([2, 3, 64]).to_device(&device))
        .collect();
    let mut replay = record(&inputs[0], work.clone());
    let results: Vec<_> = inputs
        .iter()
        .map(|x| replay.run(std::slice::from_ref(x)).unwrap())
        .collect();
    // All of them at the end: no result lies where the next one is written.
    for (x, result) in inputs.iter().zip(results) {
        near(result, work(x.clone()));
    }
    let other: Tensor<3> = random([1, 3, 64]).to_device(&device);
    assert!(replay.run(&[other]).is_none(), "another shape was taken");
}

#[test]
fn a_replay_goes_to_other_threads_and_outlives_its_layers() {
    let _alone = alone();
    let device = gpu();
    let x = random([1, 5, 64]).to_device(&device);
    let (mut replay, expected) = {
        let work = work(&device);
        (record(&x, work.clone()), work(x.clone()))
    };
    // What is allocated now is not given what the layers had.
    let _others: Vec<_> = (0..8)
        .map(|_| random([96, 64]).to_device(&device))
        .collect();
    let found = thread::spawn(move || {
        let found = replay.run(&[x]).unwrap();
        (found.into_data(), replay)
    });
    let (found, replay) = found.join().unwrap();
    near(Tensor::<3>::from_data(found, &device), expected);
    drop(replay);
}

#[test]
fn launches_are_counted_when_they_are_done() {
    let _alone = alone();
    let device = gpu();
    let (work, x) = (work(&device), random([2, 3, 64]).to_device(&device));
    let described = Watch::new();
    work(x.clone());
    let (launches, moved) = (described.launches(), described.bytes_moved());
    drop(described);
    assert!(launches >= 3);
    let rehearsal = Rehearsal::new(std::slice::from_ref(&x)).unwrap();
    let as_recorded = |inputs: Vec<Tensor<3>>| inputs.into_iter().next().map(&work);
    as_recorded(rehearsal.inputs()).unwrap();
    let watch = Watch::new();
    let mut replay: Replay<3, 3> = rehearsal.record(as_recorded).unwrap();
    assert_eq!((watch.launches(), watch.bytes_moved()), (0, 0));
    // Copies of the input and of the result come with it.
    let copies = 4 * 4 * 2 * 3 * 64;
    for n in 1..3 {
        replay.run(std::slice::from_ref(&x)).unwrap();
        assert_eq!(watch.launches(), n * (launches + 2));
        assert_eq!(watch.bytes_moved(), n * (moved + copies));
    }
}

#[test]
fn a_panic_leaves_the_device_to_others() {
    let _alone = alone();
    let device = gpu();
    let (work, x) = (work(&device), random([1, 3, 64]).to_device(&device));
    for recording in [false, true] {
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let rehearsal = Rehearsal::new(std::slice::from_ref(&x)).unwrap();
            assert!(recording, "while it was done");
            let recorded: Option<Replay<3, 3>> = rehearsal.record(|_| panic!("while recorded"));
            drop(recorded);
        }));
        assert!(panicked.is_err());
        let mut replay = record(&x, work.clone());
        near(
            replay.run(std::slice::from_ref(&x)).unwrap(),
            work(x.clone()),
        );
    }
}

/// A cache whose places a device counts attends as one that is told of each.
#[test]
fn a_recorded_step_writes_place_after_place() {
    let _alone = alone();
    let device = gpu();
    let capacity = 300;
    for (prompt, hides, moves) in [
        (3, false, false),
        (3, true, false),
        (254, false, false),
        (3, false, true),
        (254, true, true),
    ] {
        let first = [0, 1].map(|_| random([2, prompt, 2 * 8]));
        let bias = hides.then(|| {
            let hidden = Tensor::<4>::full([2, 1, 1, 1], -1e30, &Device::flex());
            Tensor::cat(vec![hidden, random([2, 1, 1, capacity - 1])], 3)
        });
        let part =
            |x: &Tensor<3>, device: &Device, heads| split_heads(x.clone().to_device(device), heads);
        let cache = |device: &Device| {
            let mut cache = KvCache::new(2, capacity);
            cache.append(part(&first[0], device, 2), part(&first[1], device, 2));
            cache
        };
        let (mut told, mut counted) = (cache(&Device::flex()), cache(&device));
        if moves {
            told.select(&[1, 0]);
            counted.select(&[1, 0]);
        }
        assert_eq!(counted.capacity(), Some(capacity));
        let counter = counted.counter().unwrap();
        assert!(counted.count_by(Some(&counter)));
        let bias_there = bias.clone().map(|bias| bias.to_device(&device));
        let step = |cache: &mut KvCache, inputs: Vec<Tensor<3>>| {
            counter.add_one();
            let [q, k, v] = inputs.try_into().ok()?;
            cache.append(split_heads(k, 2), split_heads(v, 2));
            let attention = cache.attention(split_heads(q, 4), 0.3);
            Some(attention.with_bias(bias_there.clone()).forward().output)
        };
        let mut replay = None;
        let mut rehearsal = None;
        for n in 0..7 {
            let inputs = [4 * 8, 2 * 8, 2 * 8].map(|width| random([2, 1, width]));
            if moves {
                let rows = [[0, 0], [1, 0], [0, 1]][n % 3];
                told.select(&rows);
                assert!(counter.move_rows(&rows, counted.len()));
            } else {
                assert!(!counter.move_rows(&[1, 0], counted.len()));
            }
            told.append(
                part(&inputs[1], &Device::flex(), 2),
                part(&inputs[2], &Device::flex(), 2),
            );
            let seen = bias.clone().map(|bias| bias.narrow(3, 0, told.len()));
            let q = part(&inputs[0], &Device::flex(), 4);
            let expected = told.attention(q, 0.3).with_bias(seen).forward().output;
            let inputs = inputs.map(|x| x.to_device(&device));
            let found = match n {
                0 => {
                    let begun = Rehearsal::new(&inputs).unwrap();
                    let found = step(&mut counted, begun.inputs());
                    rehearsal = Some(begun);
                    found.unwrap()
                }
                _ => {
                    let replay: &mut Replay<3, 4> = replay.get_or_insert_with(|| {
                        let recorded = rehearsal
                            .take()
                            .unwrap()
                            .record(|inputs| step(&mut counted, inputs));
                        counted.drop_last(1);
                        recorded.unwrap()
                    });
                    let found = replay.run(&inputs).unwrap();
                    counted.note_written();
                    found
                }
            };
            near(found, expected);
            assert_eq!(counted.len(), told.len());
            assert!(counter.is_read());
        }
        // Told again, it holds what it held.
        assert!(counted.count_by(None));
        let q = random([2, 1, 4 * 8]);
        let attend = |cache: &KvCache, device: &Device| {
            let attention = cache.attention(part(&q, device, 4), 0.3);
            attention.forward().output
        };
        near(attend(&counted, &device), attend(&told, &Device::flex()));
    }
}

/// Whoever is told a number of places is found out.
#[test]
fn a_number_that_a_kernel_is_told_is_noted() {
    let _alone = alone();
    let device = gpu();
    let part = |new, heads| split_heads(random([1, new, heads * 8]).to_device(&device), heads);
    for queries in [1, 2] {
        let mut cache = KvCache::new(1, 9);
        cache.append(part(3, 2), part(3, 2));
        let counter = cache.counter().unwrap();
        cache.count_by(Some(&counter));
        assert!(counter.is_read());
        counter.add_one();
        cache.append(part(1, 2), part(1, 2));
        cache.attention(part(queries, 4), 0.3).forward();
        assert_eq!(counter.is_read(), queries == 1);
    }
}
