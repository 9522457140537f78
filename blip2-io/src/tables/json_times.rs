//! Dates and times as JSON has them.

use arrow_array::{
    Array,
    cast::AsArray,
    types::{
        ArrowTemporalType, Date32Type, Date64Type, DurationMicrosecondType,
        DurationMillisecondType, DurationNanosecondType, DurationSecondType, Time32MillisecondType,
        Time32SecondType, Time64MicrosecondType, Time64NanosecondType, TimestampMicrosecondType,
        TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
    },
};
use arrow_schema::{DataType, TimeUnit};

/// A date or a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Time {
    /// As ISO 8601 has it.
    Written(String),
    /// A duration, or what is too far for a calendar: how many of its unit, from 1970 or midnight on.
    Count(i64),
}

/// The time of a row; `None` for what is none.
pub(super) fn time(array: &dyn Array, row: usize) -> Option<Time> {
    use TimeUnit::{Microsecond, Millisecond, Nanosecond, Second};
    match array.data_type() {
        DataType::Date32 => moment::<Date32Type>(array, row, date),
        DataType::Date64 => moment::<Date64Type>(array, row, date),
        DataType::Time32(Second) => moment::<Time32SecondType>(array, row, clock),
        DataType::Time32(_) => moment::<Time32MillisecondType>(array, row, clock),
        DataType::Time64(Nanosecond) => moment::<Time64NanosecondType>(array, row, clock),
        DataType::Time64(_) => moment::<Time64MicrosecondType>(array, row, clock),
        DataType::Timestamp(unit, zone) => {
            let ending = if zone.is_some() { "Z" } else { "" };
            let time = match unit {
                Second => moment::<TimestampSecondType>(array, row, both),
                Millisecond => moment::<TimestampMillisecondType>(array, row, both),
                Microsecond => moment::<TimestampMicrosecondType>(array, row, both),
                Nanosecond => moment::<TimestampNanosecondType>(array, row, both),
            };
            time.map(|time| match time {
                Time::Written(text) => Time::Written(text + ending),
                count => count,
            })
        }
        DataType::Duration(unit) => match unit {
            Second => moment::<DurationSecondType>(array, row, |_| None),
            Millisecond => moment::<DurationMillisecondType>(array, row, |_| None),
            Microsecond => moment::<DurationMicrosecondType>(array, row, |_| None),
            Nanosecond => moment::<DurationNanosecondType>(array, row, |_| None),
        },
        _ => None,
    }
}

/// An array of times, and a row of it.
type At<'a, T> = (&'a arrow_array::PrimitiveArray<T>, usize);

fn moment<T: ArrowTemporalType>(
    array: &dyn Array,
    row: usize,
    written: impl Fn(At<'_, T>) -> Option<String>,
) -> Option<Time>
where
    i64: From<T::Native>,
{
    let array = array.as_primitive_opt::<T>()?;
    let count = || Time::Count(i64::from(array.value(row)));
    Some(written((array, row)).map_or_else(count, Time::Written))
}

fn date<T: ArrowTemporalType>((array, row): At<'_, T>) -> Option<String>
where
    i64: From<T::Native>,
{
    Some(array.value_as_date(row)?.to_string())
}

fn clock<T: ArrowTemporalType>((array, row): At<'_, T>) -> Option<String>
where
    i64: From<T::Native>,
{
    Some(array.value_as_time(row)?.to_string())
}

fn both<T: ArrowTemporalType>((array, row): At<'_, T>) -> Option<String>
where
    i64: From<T::Native>,
{
    Some(array.value_as_datetime(row)?.to_string().replace(' ', "T"))
}
