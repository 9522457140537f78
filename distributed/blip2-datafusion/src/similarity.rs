//! How alike two embeddings are.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray, Float32Array, LargeListArray},
        compute::cast,
        datatypes::{DataType, Field, Float32Type},
    },
    common::{exec_err, plan_err},
    error::Result,
    logical_expr::{
        ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
        Volatility,
    },
};

const NAME: &str = "blip2_similarity";

/// `blip2_similarity(a, b)`: the cosine of two embeddings, between −1 and 1. It needs no model.
///
/// Embeddings are lists of numbers, of fixed size or not. A picture of BLIP-2's retrieval has a vector for
/// each query: with a text it is as similar as the most similar of these, and with another picture by
/// the mean of each query's cosine with the same query of the other, as
/// [`ImageEmbedding`](blip2_core::ImageEmbedding) compares them. Of NULL, and of a vector of zeros, it is
/// NULL.
///
/// ```
/// use datafusion::prelude::SessionContext;
///
/// # #[tokio::main]
/// # async fn main() -> datafusion::error::Result<()> {
/// let ctx = SessionContext::new();
/// ctx.register_udf(blip2_datafusion::similarity());
/// let rows = ctx.sql("SELECT blip2_similarity([3.0, 4.0], [4.0, 3.0])").await?.collect().await?;
/// assert!(format!("{rows:?}").contains("0.96"));
/// # Ok(())
/// # }
/// ```
pub fn similarity() -> ScalarUDF {
    ScalarUDF::new_from_impl(Similarity {
        signature: Signature::any(2, Volatility::Immutable),
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Similarity {
    signature: Signature,
}

impl ScalarUDFImpl for Similarity {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float32)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<Arc<Field>> {
        for (place, field) in args.arg_fields.iter().enumerate() {
            let data_type = field.data_type();
            if depth(data_type).is_none() && *data_type != DataType::Null {
                return plan_err!(
                    "{NAME}(a, b): argument {}, `{}`, is of type {data_type}; give it embeddings: lists of \
                     numbers, as blip2_embed gives them",
                    place + 1,
                    field.name()
                );
            }
        }
        Ok(Arc::new(Field::new(NAME, DataType::Float32, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = ColumnarValue::values_to_arrays(&args.args)?;
        let [a, b] = columns.as_slice() else {
            return exec_err!("{NAME} takes two embeddings");
        };
        let (a, b) = (Embeddings::of(a)?, Embeddings::of(b)?);
        let rows = columns.iter().map(Array::len).max().unwrap_or(0);
        let compared = (0..rows).map(|row| match (a.row(row), b.row(row)) {
            (Some(a), Some(b)) => compare(&a, &b),
            _ => Ok(None),
        });
        let compared: Float32Array = compared.collect::<Result<_>>()?;
        Ok(ColumnarValue::Array(Arc::new(compared)))
    }
}

/// How many lists there are around the numbers: one of a vector, two of several; `None` for other types.
fn depth(data_type: &DataType) -> Option<usize> {
    fn item(data_type: &DataType) -> Option<&DataType> {
        match data_type {
            DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
                Some(item.data_type())
            }
            _ => None,
        }
    }
    let inner = item(data_type)?;
    match item(inner) {
        Some(number) if number.is_floating() => Some(2),
        None if inner.is_floating() => Some(1),
        _ => None,
    }
}

/// A column of embeddings, in one form.
enum Embeddings {
    /// NULL in every row.
    None,
    One(LargeListArray),
    Several(LargeListArray),
}

impl Embeddings {
    fn of(array: &ArrayRef) -> Result<Self> {
        let vector = DataType::LargeList(Arc::new(Field::new_list_field(DataType::Float32, true)));
        Ok(match depth(array.data_type()) {
            Some(1) => Self::One(cast(array, &vector)?.as_list().clone()),
            Some(_) => {
                let several = DataType::LargeList(Arc::new(Field::new_list_field(vector, true)));
                Self::Several(cast(array, &several)?.as_list().clone())
            }
            None => Self::None,
        })
    }

    /// The vectors of a row, unless it or a part of it is NULL.
    fn row(&self, row: usize) -> Option<Embedding> {
        match self {
            Self::None => None,
            Self::One(lists) => lists
                .is_valid(row)
                .then(|| numbers(&lists.value(row)))?
                .map(Embedding::One),
            Self::Several(lists) => {
                let lists = lists.is_valid(row).then(|| lists.value(row))?;
                let lists = lists.as_list_opt::<i64>()?;
                let vectors = lists.iter().map(|vector| numbers(&vector?));
                vectors.collect::<Option<_>>().map(Embedding::Several)
            }
        }
    }
}

enum Embedding {
    One(Vec<f32>),
    Several(Vec<Vec<f32>>),
}

fn numbers(array: &ArrayRef) -> Option<Vec<f32>> {
    let numbers = array.as_primitive_opt::<Float32Type>()?;
    (numbers.null_count() == 0).then(|| numbers.values().to_vec())
}

fn compare(a: &Embedding, b: &Embedding) -> Result<Option<f32>> {
    match (a, b) {
        (Embedding::One(a), Embedding::One(b)) => cosine(a, b),
        (Embedding::Several(queries), Embedding::One(text))
        | (Embedding::One(text), Embedding::Several(queries)) => {
            let mut best: Option<f32> = None;
            for query in queries {
                let cosine = cosine(query, text)?;
                best = best.into_iter().chain(cosine).reduce(f32::max);
            }
            Ok(best)
        }
        (Embedding::Several(a), Embedding::Several(b)) => {
            if a.len() != b.len() {
                return exec_err!(
                    "{NAME}: embeddings of {} and {} vectors: models of different forms made them",
                    a.len(),
                    b.len()
                );
            }
            let cosines = a.iter().zip(b).map(|(a, b)| cosine(a, b));
            let cosines: Option<Vec<f32>> = cosines.collect::<Result<_>>()?;
            Ok(cosines
                .filter(|cosines| !cosines.is_empty())
                .map(|cosines| cosines.iter().sum::<f32>() / cosines.len() as f32))
        }
    }
}

fn cosine(a: &[f32], b: &[f32]) -> Result<Option<f32>> {
    if a.len() != b.len() {
        return exec_err!(
            "{NAME}: embeddings of {} and {} numbers: models of different widths made them",
            a.len(),
            b.len()
        );
    }
    // Summed in double precision: vectors that nobody scaled to length 1 may be long.
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        let products = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b));
        products.sum()
    };
    let norms = dot(a, a).sqrt() * dot(b, b).sqrt();
    Ok((norms > 0.0).then(|| (dot(a, b) / norms) as f32))
}
