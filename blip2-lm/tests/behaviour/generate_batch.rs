//! Rows that are generated together, each by arguments of its own.

use blip2_lm::generate::{
    Batch, CancelToken, FinishReason, GenerateError, Generated, GenerationConfig, Generator,
};

use crate::generate_support::{Bytes, FnSession, Tables, table_session};

const ARGUMENTS: [&str; 6] = [
    r#"{"max_new_tokens": 9}"#,
    r#"{"max_new_tokens": 1}"#,
    r#"{"max_new_tokens": 12, "eos_token_id": [3, 5]}"#,
    r#"{"max_new_tokens": 7, "do_sample": true, "temperature": 1.7, "seed": 4}"#,
    r#"{"max_new_tokens": 7, "do_sample": true, "seed": 9, "num_return_sequences": 3}"#,
    r#"{"max_new_tokens": 10, "repetition_penalty": 1.8, "stop_strings": ["a", "K"]}"#,
];

fn generator(arguments: &str) -> Generator<'static> {
    let config: GenerationConfig = serde_json::from_str(arguments).unwrap();
    Generator::new(config).unwrap().token_decoder(Bytes)
}

fn prompts() -> Vec<Vec<u32>> {
    (0..6).map(|n| vec![n, 7 + 3 * n, 40 - n]).collect()
}

fn rows(all: &[Vec<u32>]) -> Vec<(Generator<'static>, Vec<u32>)> {
    let rows = all.iter().zip(ARGUMENTS);
    rows.map(|(prompt, arguments)| (generator(arguments), prompt.clone()))
        .collect()
}

fn run<S: blip2_lm::DecodeSession>(batch: &mut Batch<'_, S>) -> Vec<String> {
    let mut texts = Vec::new();
    while !batch.is_finished() {
        for (sequence, piece) in batch.step().unwrap() {
            texts.resize(texts.len().max(sequence + 1), String::new());
            texts[sequence].push_str(&piece.unwrap().text);
        }
    }
    texts
}

#[test]
fn each_row_gets_what_it_gets_alone() {
    for seed in 0..20 {
        let tables = Tables::random(80, 3.0, seed);
        let prompts = prompts();
        let alone = |row: usize| -> Vec<Generated> {
            let one = vec![prompts[row].clone()];
            let mut session = table_session(&tables, &one);
            let found = generator(ARGUMENTS[row])
                .generate(&mut session, &one)
                .unwrap();
            found.into_iter().next().unwrap()
        };
        let session = table_session(&tables, &prompts);
        let mut batch = Batch::new(session, rows(&prompts)).unwrap();
        let texts = run(&mut batch);
        // Rows leave when they end: the last step has fewer than the first.
        let batches = batch.session().batches.clone();
        assert_eq!(batches[0], 6);
        assert!(batches.last().unwrap() < &8, "{batches:?}");
        let found = batch.into_generated();
        for (row, found) in found.iter().enumerate() {
            assert_eq!(found, &alone(row), "row {row} of seed {seed}");
        }
        // And the streamed text is that of the stream alone.
        let one = vec![prompts[5].clone()];
        let stream = generator(ARGUMENTS[5]).stream(table_session(&tables, &one), &one[0]);
        let streamed: String = stream.unwrap().map(|piece| piece.unwrap().text).collect();
        assert_eq!(texts[7], streamed);
    }
}

/// Batches that begin one, two and three steps after the first, of which one ends before the last joins.
#[test]
fn rows_that_join_get_what_they_get_alone() {
    for seed in 0..20 {
        let tables = Tables::random(80, 3.0, seed);
        let prompts = prompts();
        let begin = |rows: &[usize]| {
            let prompts: Vec<_> = rows.iter().map(|&row| prompts[row].clone()).collect();
            let generators = rows.iter().map(|&row| generator(ARGUMENTS[row]));
            let asked = generators.zip(prompts.iter().cloned()).collect();
            let mut batch = Batch::new(table_session(&tables, &prompts), asked).unwrap();
            batch.step().unwrap();
            batch
        };
        let mut batch = begin(&[0, 1]);
        let mut numbers = vec![0, 1];
        for joining in [vec![4], vec![5, 3], vec![1], vec![2]] {
            batch.step().unwrap();
            let mut other = begin(&joining);
            if joining == [5, 3] {
                other.step().unwrap();
            }
            batch.join(other).unwrap();
            numbers.extend(joining);
        }
        while !batch.is_finished() {
            batch.step().unwrap();
        }
        assert_eq!(batch.sequences(), 9);
        // What was taken is gone, and the numbers of the others stay.
        let taken = batch.take(0).unwrap();
        assert!(batch.take(0).is_none() && batch.generated(0).is_none());
        let mut found = batch.into_generated();
        assert!(std::mem::take(&mut found[0]).is_empty());
        found[0] = vec![taken];
        for (found, row) in found.iter().zip(numbers) {
            let one = vec![prompts[row].clone()];
            let expected =
                generator(ARGUMENTS[row]).generate(&mut table_session(&tables, &one), &one);
            assert_eq!(*found, expected.unwrap()[0], "row {row} of seed {seed}");
        }
    }
}

#[test]
fn a_row_that_is_cancelled_leaves_before_the_next_step_and_the_others_go_on() {
    let tables = Tables::random(80, 3.0, 1);
    let prompts = vec![vec![1], vec![2], vec![3]];
    let cancel = CancelToken::new();
    let row = |n: usize| {
        let generator = generator(r#"{"max_new_tokens": 6}"#);
        match n {
            1 => generator.cancel_token(cancel.clone()),
            _ => generator,
        }
    };
    let all = prompts
        .iter()
        .enumerate()
        .map(|(n, prompt)| (row(n), prompt.clone()));
    let mut batch = Batch::new(table_session(&tables, &prompts), all.collect()).unwrap();
    for _ in 0..2 {
        batch.step().unwrap();
    }
    assert_eq!(batch.finish_reason(1), None);
    cancel.cancel();
    run(&mut batch);
    assert_eq!(batch.session().batches, [3, 3, 2, 2, 2, 2]);
    assert_eq!(batch.finish_reason(1), Some(FinishReason::Cancelled));
    let found = batch.into_generated();
    let lengths: Vec<usize> = found.iter().map(|found| found[0].tokens.len()).collect();
    assert_eq!(lengths, [6, 2, 6]);
}

#[test]
fn a_row_that_fails_does_not_fail_the_others() {
    let prompts = vec![vec![1], vec![2]];
    // The second row's logits break after two tokens.
    let logits = |ids: &[u32]| match ids {
        [2, _, _, ..] => vec![f32::NAN; 10],
        ids => (0..10)
            .map(|token| (token * ids.len() % 7) as f32)
            .collect(),
    };
    let session = FnSession::new(10, &prompts, logits);
    let four = || generator(r#"{"max_new_tokens": 4}"#);
    let all = prompts.iter().map(|prompt| (four(), prompt.clone()));
    let mut batch = Batch::new(session, all.collect()).unwrap();
    let mut failed = Vec::new();
    while !batch.is_finished() {
        let pieces = batch.step().unwrap().into_iter();
        failed.extend(
            pieces
                .filter(|(_, piece)| piece.is_err())
                .map(|(row, _)| row),
        );
    }
    assert_eq!(failed, [1]);
    let found = batch.into_generated();
    assert_eq!((found[0][0].tokens.len(), found[1][0].tokens.len()), (4, 2));
}

#[test]
fn beams_and_rows_without_a_decoder_are_refused() {
    let tables = Tables::random(80, 3.0, 1);
    let prompts = vec![vec![1]];
    let refused = |generator: Generator<'static>| {
        let all = vec![(generator, prompts[0].clone())];
        Batch::new(table_session(&tables, &prompts), all).unwrap_err()
    };
    let beams = refused(generator(r#"{"num_beams": 2}"#));
    assert!(beams.to_string().contains("num_beams"), "{beams}");
    let silent = Generator::new(GenerationConfig::default()).unwrap();
    assert!(matches!(
        refused(silent),
        GenerateError::NoTokenDecoder { .. }
    ));
    let count = Batch::new(table_session(&tables, &prompts), vec![]);
    assert!(
        count.is_ok_and(|batch| batch.is_finished()),
        "no rows have nothing to do"
    );
}
