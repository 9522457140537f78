//! Which rows of a larger batch are computed here: random numbers are drawn as if for all of them.
//!
//! Dropout draws a number for each of its input's numbers, one after another. Of several processes that
//! see a batch together each one draws for the whole batch and takes its own rows' numbers, so that what
//! is dropped does not depend on how many there are.

use std::cell::RefCell;

use burn::tensor::{Int, Tensor, TensorData};

/// Some of a larger batch's rows, by their places in it.
///
/// ```
/// use blip2_kernels::share::Rows;
///
/// let second_half = Rows::range(4, 4, 8);
/// assert_eq!(second_half, Rows::new(vec![4, 5, 6, 7], 8));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rows {
    places: Vec<usize>,
    of: usize,
}

impl Rows {
    /// The rows at these places of `of`.
    pub fn new(places: Vec<usize>, of: usize) -> Self {
        Self { places, of }
    }

    /// `count` rows from the one at `first` on, of `of`.
    pub fn range(first: usize, count: usize, of: usize) -> Self {
        Self::new((first..first + count).collect(), of)
    }

    fn is_whole(&self) -> bool {
        self.places.len() == self.of
            && self
                .places
                .iter()
                .enumerate()
                .all(|(own, place)| own == *place)
    }
}

/// What the rows of a tensor are, now.
#[derive(Debug, Clone)]
pub(crate) struct Share {
    rows: Rows,
    pictures: Rows,
    /// Whether a tensor has a row for each picture.
    of_pictures: bool,
}

impl Share {
    fn current(&self) -> &Rows {
        match self.of_pictures {
            true => &self.pictures,
            false => &self.rows,
        }
    }
}

thread_local! {
    static SHARE: RefCell<Option<Share>> = const { RefCell::new(None) };
}

/// Runs something on some rows, about some pictures, of a larger batch.
pub fn during<R>(rows: Rows, pictures: Rows, run: impl FnOnce() -> R) -> R {
    let of_pictures = false;
    let share = Share {
        rows,
        pictures,
        of_pictures,
    };
    within(Some(share), run)
}

/// Runs a part whose tensors have a row for each picture, instead of one for each text.
pub fn over_pictures<R>(run: impl FnOnce() -> R) -> R {
    let share = remembered().map(|share| Share {
        of_pictures: true,
        ..share
    });
    within(share, run)
}

/// Runs a part whose tensors have a row for some positions of the rows alone: `positions` are places in
/// the rows, each of which has `seq`.
pub fn over_positions<R>(positions: &[usize], seq: usize, run: impl FnOnce() -> R) -> R {
    let share = remembered().map(|share| {
        let rows = share.current();
        let place = |&position: &usize| {
            let row = rows.places.get(position / seq).copied();
            row.unwrap_or_default() * seq + position % seq
        };
        let own = Rows::new(positions.iter().map(place).collect(), rows.of * seq);
        Share {
            rows: own,
            of_pictures: false,
            ..share
        }
    });
    within(share, run)
}

/// What was said on this thread.
pub(crate) fn remembered() -> Option<Share> {
    SHARE.with_borrow(Clone::clone)
}

/// Runs something as it was said elsewhere.
pub(crate) fn within<R>(share: Option<Share>, run: impl FnOnce() -> R) -> R {
    // As it was before, whatever happens.
    struct Back(Option<Share>);
    impl Drop for Back {
        fn drop(&mut self) {
            let before = self.0.take();
            SHARE.with_borrow_mut(|share| *share = before);
        }
    }
    let _back = Back(SHARE.with_borrow_mut(|own| std::mem::replace(own, share)));
    run()
}

/// The own rows of what `draw` gives in the shape of the whole batch; `rows` are what a tensor has here,
/// several for each row of the batch, as of tokens.
pub(crate) fn drawn(
    rows: usize,
    width: usize,
    draw: impl FnOnce([usize; 2]) -> Tensor<2>,
) -> Tensor<2> {
    let Some(share) = remembered() else {
        return draw([rows, width]);
    };
    let own = share.current();
    let count = own.places.len();
    if count == 0 || !rows.is_multiple_of(count) || own.is_whole() {
        return draw([rows, width]);
    }
    let each = rows / count;
    let all = draw([own.of * each, width]);
    let places: Vec<i64> = own.places.iter().map(|&place| place as i64).collect();
    let places = Tensor::<1, Int>::from_data(TensorData::new(places, [count]), &all.device());
    all.reshape([own.of, each * width])
        .select(0, places)
        .reshape([rows, width])
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, Distribution};

    fn values(rows: usize) -> Vec<f32> {
        let device = Device::flex();
        device.seed(9);
        let draw = |shape: [usize; 2]| Tensor::random(shape, Distribution::Default, &device);
        drawn(rows, 3, draw).into_data().try_into_vec().unwrap()
    }

    /// Tests run at once, and the device's numbers are for all of them: here they are the places'.
    fn places(rows: usize) -> Vec<f32> {
        let draw = |[rows, width]: [usize; 2]| {
            let all = (0..rows * width).map(|place| place as f32).collect();
            Tensor::from_data(
                TensorData::new::<f32, _>(all, [rows, width]),
                &Device::flex(),
            )
        };
        drawn(rows, 3, draw).into_data().try_into_vec().unwrap()
    }

    #[test]
    fn a_part_has_the_numbers_of_its_places() {
        let whole = places(8); // four rows of two tokens
        let [first, second] = [(0, 1), (1, 3)].map(|(first, count)| {
            let rows = Rows::range(first, count, 4);
            during(rows.clone(), rows, || places(2 * count))
        });
        assert_eq!([first, second].concat(), whole);
        assert_eq!(
            during(Rows::range(0, 4, 4), Rows::range(0, 1, 1), || values(8)).len(),
            24
        );
    }

    #[test]
    fn pictures_and_positions_have_places_of_their_own() {
        let (rows, pictures) = (Rows::range(2, 2, 4), Rows::range(1, 1, 2));
        during(rows, pictures, || {
            assert_eq!(over_pictures(|| places(1)), [3.0, 4.0, 5.0]);
            // The second position of the first own row, of rows of four.
            assert_eq!(over_positions(&[1], 4, || places(1)), [27.0, 28.0, 29.0]);
            assert_eq!(places(2), [6.0, 7.0, 8.0, 9.0, 10.0, 11.0]);
        });
        assert!(remembered().is_none());
    }
}
