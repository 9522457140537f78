//! The largest logits of rows.

use blip2_kernels::{MOST_TOP, Top, TopLogits, top_logits};
use burn::tensor::{Device, Tensor, TensorData};

use super::{gpu, random};

/// What rows of logits give, as a device finds it.
fn found(rows: &[Vec<f32>], k: usize) -> Vec<TopLogits> {
    let (count, width) = (rows.len(), rows[0].len());
    let data = TensorData::new(rows.concat(), [count, 1, width]);
    let found = top_logits(&Tensor::<3>::from_data(data, &gpu()), k).unwrap();
    TopLogits::of(&found.into_data().try_into_vec::<f32>().unwrap(), k)
}

/// The `k` largest by a plain sort, and the sum in 64 bits.
fn expected(row: &[f32], k: usize) -> Top {
    let mut tokens: Vec<(u32, f32)> = (0..).zip(row.iter().copied()).collect();
    tokens.retain(|(_, logit)| *logit > f32::NEG_INFINITY);
    tokens.sort_by(|a, b| b.1.partial_cmp(&a.1).unwrap().then(a.0.cmp(&b.0)));
    let largest = tokens[0].1;
    let exponentials = row.iter().map(|x| f64::from(x - largest).exp());
    let log_sum = exponentials.sum::<f64>().ln() as f32;
    let is_all = tokens.len() < k;
    tokens.truncate(k);
    Top::new(tokens, is_all, log_sum)
}

#[track_caller]
fn check(rows: &[Vec<f32>], k: usize) {
    let width = rows[0].len();
    for (n, (row, found)) in rows.iter().zip(found(rows, k)).enumerate() {
        let TopLogits::Found(found) = found else {
            panic!("row {n}, {width} wide, {k}: {found:?}")
        };
        let expected = expected(row, k);
        assert_eq!(found.tokens, expected.tokens, "row {n}, {width} wide, {k}");
        assert_eq!(found.is_all, expected.is_all, "row {n}, {width} wide, {k}");
        let off = (found.log_sum - expected.log_sum).abs();
        let scale = expected.log_sum.abs().max(1.0);
        assert!(off < 2e-6 * scale, "row {n}, {width} wide: {off}");
    }
}

/// Random numbers, and such as tie: everywhere, by their signs of zero, all of them.
fn rows(width: usize) -> Vec<Vec<f32>> {
    let random = random([3, width]).into_data().try_into_vec::<f32>();
    let mut rows: Vec<Vec<f32>> = random.unwrap().chunks(width).map(<[f32]>::to_vec).collect();
    let of = |row: &[f32], change: fn(f32) -> f32| row.iter().map(|&x| change(x)).collect();
    rows.push(of(&rows[0], |x| (2.0 * x).round()));
    rows.push(of(&rows[1], |x| x.round().abs().copysign(-1.0)));
    rows.push(of(&rows[1], |x| 0f32.copysign(x)));
    rows.push(of(&rows[2], |x| 1e30 * x));
    // Mostly impossible, and rising so that the last come first.
    rows.push(of(
        &rows[2],
        |x| if x > 1.0 { x } else { f32::NEG_INFINITY },
    ));
    rows.last_mut().unwrap()[0] = 0.5;
    rows.push((0..width).map(|id| id as f32 / 64.0).collect());
    rows
}

#[test]
fn the_largest_logits_are_those_of_a_sort() {
    for width in [1, 7, 33, 256, 257, 5000, 32_128, 50_272] {
        let rows = rows(width);
        for k in [1, 2, 10, 50, 127, MOST_TOP] {
            check(&rows, k);
        }
    }
}

#[test]
fn every_number_of_logits_is_found() {
    let rows = rows(1031);
    for k in 1..=MOST_TOP {
        check(&rows, k);
    }
}

#[test]
fn rows_that_are_no_distribution_are_told() {
    let (nan, inf) = (f32::NAN, f32::INFINITY);
    for width in [4, 3000] {
        let row = |id: usize, value: f32, other: f32| {
            let mut row = vec![other; width];
            row[id] = value;
            row
        };
        let rows = [
            row(width - 1, nan, 0.5),
            row(0, -nan, 0.5),
            row(1, nan, inf),
            row(1, inf, 0.5),
            row(1, -inf, -inf),
            row(2, 0.25, -inf),
        ];
        let found = found(&rows, 3);
        for found in &found[..3] {
            assert!(matches!(found, TopLogits::NoDistribution(x) if x.is_nan()));
        }
        assert_eq!(found[3], TopLogits::NoDistribution(inf));
        assert_eq!(found[4], TopLogits::NoDistribution(-inf));
        assert_eq!(
            found[5],
            TopLogits::Found(Top::new(vec![(2, 0.25)], true, 0.0))
        );
    }
}

/// Of logits that stand out in the same places of each 256, a unit of the device sees all: the bar that
/// the units find is then below most of them.
#[test]
fn what_a_device_has_no_room_for_is_told() {
    let width = 256 * 40;
    let high = |units: usize| {
        let of = |id: usize| if id % 256 < units { 1.0 } else { 0.0 };
        (0..width).map(|id| of(id) + id as f32 * 1e-6).collect()
    };
    let rows: Vec<Vec<f32>> = vec![high(30), high(10)];
    let told = found(&rows, 31);
    assert_eq!(told[0], TopLogits::Crowded);
    // Ten units have 400 large ones: that is room enough for the 31st, among the small ones.
    check(&rows[1..], 31);
    check(&rows, 20);
}

#[test]
fn a_device_is_asked_for_some_logits_of_its_own() {
    let logits = Tensor::<3>::zeros([1, 1, 300], &gpu());
    assert!(top_logits(&logits, MOST_TOP).is_some());
    assert!(top_logits(&logits, MOST_TOP + 1).is_none());
    assert!(top_logits(&logits, 0).is_none());
    assert!(top_logits(&logits.to_device(&Device::flex()), 5).is_none());
}
