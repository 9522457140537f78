//! Recall of retrieval.

/// A right candidate that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("query {query} has candidate {candidate} as a right one, but only {candidates} candidates")]
pub struct UnknownCandidate {
    /// The row.
    pub query: usize,
    /// The right candidate.
    pub candidate: usize,
    /// How many there are.
    pub candidates: usize,
}

/// The part of queries that find one of their right candidates among the `k` most similar ones
/// (recall@k as papers on retrieval have it). Of equally similar candidates the first comes first;
/// what is no number comes last. A query without a right candidate finds none; no query at all
/// gives 0.
///
/// # Errors
///
/// [`UnknownCandidate`] for a right candidate that is not among a query's similarities.
///
/// ```
/// use blip2_train::scores::recall_at;
///
/// // Two texts search among three pictures.
/// let similarities = [vec![0.9, 0.1, 0.3], vec![0.2, 0.4, 0.5]];
/// let right = [vec![0], vec![1]];
/// assert_eq!(recall_at(1, &similarities, &right)?, 0.5);
/// assert_eq!(recall_at(2, &similarities, &right)?, 1.0);
/// # Ok::<(), blip2_train::scores::UnknownCandidate>(())
/// ```
pub fn recall_at(
    k: usize,
    similarities: &[Vec<f32>],
    right: &[Vec<usize>],
) -> Result<f64, UnknownCandidate> {
    let mut found = 0;
    for (query, (row, right)) in similarities.iter().zip(right).enumerate() {
        let candidates = row.len();
        if let Some(&candidate) = right.iter().find(|&&right| right >= candidates) {
            return Err(UnknownCandidate {
                query,
                candidate,
                candidates,
            });
        }
        found += usize::from(right.iter().any(|&own| rank(row, own) < k));
    }
    let queries = similarities.len().min(right.len());
    Ok(match queries {
        0 => 0.0,
        queries => found as f64 / queries as f64,
    })
}

/// How many candidates come before one.
fn rank(row: &[f32], own: usize) -> usize {
    let key = |place: usize| match row[place].is_nan() {
        true => f32::NEG_INFINITY,
        false => row[place],
    };
    let before = |&other: &usize| key(other) > key(own) || (key(other) == key(own) && other < own);
    (0..row.len()).filter(before).count()
}
