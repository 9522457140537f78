//! Streams, stop strings and cancellation.

use blip2_lm::generate::{
    CancelToken, DecodeSession, FinishReason, GenerateError, GenerationConfig, Generator,
    StreamPiece, cut_at_stop_string,
};

use crate::generate_support::{Bytes, FnSession, Lcg, Tables, spelling, table_session};

const PROMPT: [u32; 1] = [256];

fn config(kwargs: &str) -> GenerationConfig {
    serde_json::from_str(kwargs).unwrap()
}

fn bytes_generator(kwargs: &str) -> Generator<'static> {
    Generator::new(config(kwargs)).unwrap().token_decoder(Bytes)
}

fn speller(text: &str) -> FnSession<impl FnMut(&[u32]) -> Vec<f32>> {
    FnSession::new(257, &[PROMPT.to_vec()], spelling(text))
}

fn texts(pieces: &[StreamPiece]) -> Vec<&str> {
    pieces.iter().map(|piece| piece.text.as_str()).collect()
}

#[test]
fn whole_characters_arrive_and_the_end_token_is_silent() {
    let generator = bytes_generator(r#"{"eos_token_id": 256}"#);
    let mut stream = generator.stream(speller("é漢!"), &PROMPT).unwrap();
    assert_eq!(stream.finish_reason(), None);
    let pieces: Vec<StreamPiece> = stream.by_ref().map(Result::unwrap).collect();
    assert_eq!(texts(&pieces), ["", "é", "", "", "漢", "!", ""]);
    assert_eq!(pieces[1].to_string(), "é");
    assert_eq!(stream.finish_reason(), Some(FinishReason::Eos));
    assert_eq!(stream.tokens().len(), 7);
    assert!(stream.next().is_none());
    let generated = stream.into_generated();
    assert_eq!(generated.tokens.last(), Some(&256));
    assert_eq!(generated.content().len(), 6);
}

#[test]
fn what_a_limit_cuts_off_is_flushed() {
    let generator = bytes_generator(r#"{"max_new_tokens": 4}"#);
    let mut stream = generator.stream(speller("é漢!"), &PROMPT).unwrap();
    let pieces: Vec<StreamPiece> = stream.by_ref().map(Result::unwrap).collect();
    assert_eq!(texts(&pieces), ["", "é", "", "\u{FFFD}"]);
    assert_eq!(stream.finish_reason(), Some(FinishReason::MaxTokens));
}

#[test]
fn stop_strings_end_the_text_before_them() {
    let kwargs = r#"{"max_new_tokens": 40, "stop_strings": ["Question:", "\n\n"]}"#;
    let text = "two dogs\n?Quest Question: what";
    let mut stream = bytes_generator(kwargs)
        .stream(speller(text), &PROMPT)
        .unwrap();
    let streamed: String = stream.by_ref().map(|piece| piece.unwrap().text).collect();
    assert_eq!(streamed, "two dogs\n?Quest ");
    assert_eq!(stream.finish_reason(), Some(FinishReason::StopString));
    let tokens = stream.into_generated().tokens;
    assert_eq!(tokens.len(), "two dogs\n?Quest Question:".len());

    // The batch engine stops at the same token, with beams too.
    for beams in [1, 3] {
        let config = config(kwargs).with_num_beams(beams);
        let stop_strings = config.stop_strings.clone();
        let results = Generator::new(config)
            .unwrap()
            .token_decoder(Bytes)
            .generate(&mut speller(text), &[PROMPT.to_vec()])
            .unwrap();
        let best = &results[0][0];
        assert_eq!(best.finish_reason, FinishReason::StopString);
        assert_eq!(best.tokens, tokens, "{beams} beams");
        let whole: Vec<u8> = best.content().iter().map(|&id| id as u8).collect();
        let whole = String::from_utf8(whole).unwrap();
        assert_eq!(cut_at_stop_string(&whole, &stop_strings), streamed);
    }
}

#[test]
fn a_stop_string_that_does_not_come_is_not_lost() {
    let generator = bytes_generator(r#"{"eos_token_id": 256, "stop_strings": ["stop"]}"#);
    let pieces: Vec<StreamPiece> = generator
        .stream(speller("a sto"), &PROMPT)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(texts(&pieces), ["a", " ", "", "", "", "sto"]);
}

#[test]
fn streams_equal_batches() {
    let tables = Tables::random(257, 3.0, 5);
    for kwargs in [
        r#"{"max_new_tokens": 30}"#,
        r#"{"max_new_tokens": 30, "repetition_penalty": 1.3, "no_repeat_ngram_size": 2}"#,
        r#"{"max_new_tokens": 30, "do_sample": true, "top_p": 0.9, "seed": 11}"#,
    ] {
        let prompts = [vec![3, 4], vec![1], vec![7, 8, 9]];
        let generator = bytes_generator(kwargs);
        let batch = generator
            .generate(&mut table_session(&tables, &prompts), &prompts)
            .unwrap();
        for (prompt, expected) in prompts.iter().zip(batch) {
            let mut session = table_session(&tables, std::slice::from_ref(prompt));
            let mut stream = generator.stream(&mut session, prompt).unwrap();
            let text: String = stream.by_ref().map(|piece| piece.unwrap().text).collect();
            let streamed = stream.into_generated();
            assert_eq!(streamed, expected[0]);
            let bytes: Vec<u8> = streamed
                .tokens
                .iter()
                .filter_map(|&id| u8::try_from(id).ok())
                .collect();
            assert_eq!(text, String::from_utf8_lossy(&bytes));
        }
    }
}

#[test]
fn cancelling_keeps_what_there_is() {
    let cancel = CancelToken::new();
    let generator = bytes_generator("{}").cancel_token(cancel.clone());
    let mut stream = generator.stream(speller("é漢!"), &PROMPT).unwrap();
    for _ in 0..4 {
        stream.next().unwrap().unwrap();
    }
    cancel.cancel();
    assert!(cancel.is_cancelled());
    let last = stream.next().unwrap().unwrap();
    assert_eq!((last.text.as_str(), last.token), ("\u{FFFD}", None));
    assert!(stream.next().is_none());
    assert_eq!(stream.finish_reason(), Some(FinishReason::Cancelled));
    assert_eq!(stream.into_generated().tokens.len(), 4);
}

/// The model itself cancels while it computes its fourth logits.
#[test]
fn cancelling_stops_every_mode_before_the_next_step() {
    for kwargs in [
        r#"{"max_new_tokens": 10}"#,
        r#"{"max_new_tokens": 10, "do_sample": true, "num_return_sequences": 2}"#,
        r#"{"max_new_tokens": 10, "num_beams": 3, "num_return_sequences": 2}"#,
    ] {
        let tables = Tables::random(20, 2.0, 3);
        let prompts = vec![vec![1, 2], vec![3, 4]];
        let cancel = CancelToken::new();
        let generator = Generator::new(config(kwargs))
            .unwrap()
            .cancel_token(cancel.clone());
        let mut session = FnSession::new(20, &prompts, |ids: &[u32]| {
            if ids.len() == 5 {
                cancel.cancel();
            }
            tables.logits(ids)
        });
        let results = generator.generate(&mut session, &prompts).unwrap();
        assert_eq!(session.batches.len(), 4);
        for row in &results {
            assert_eq!(row.len(), generator.config().num_return_sequences);
            for result in row {
                assert_eq!(result.tokens.len(), 4, "{kwargs}");
                assert_eq!(result.logprobs.len(), 4);
                assert_eq!(result.finish_reason, FinishReason::Cancelled);
            }
        }
        // Cancelled before the start: the model does not run.
        let mut session = table_session(&tables, &prompts);
        let results = generator.generate(&mut session, &prompts).unwrap();
        assert!(session.batches.is_empty());
        assert!(
            results
                .iter()
                .flatten()
                .all(|result| result.tokens.is_empty())
        );
    }
}

#[test]
fn a_stream_ends_after_an_error() {
    let mut calls = 0;
    let session = FnSession::new(257, &[PROMPT.to_vec()], |_: &[u32]| {
        calls += 1;
        vec![if calls < 3 { 0.0 } else { f32::NAN }; 257]
    });
    let mut stream = bytes_generator("{}").stream(session, &PROMPT).unwrap();
    assert!(stream.next().unwrap().is_ok() && stream.next().unwrap().is_ok());
    let error = stream.next().unwrap().unwrap_err();
    assert!(matches!(error, GenerateError::BadLogits { row: 0, step: 2, value } if value.is_nan()));
    assert!(stream.next().is_none());
    assert_eq!(stream.finish_reason(), None);
}

#[test]
fn a_stream_needs_one_row_one_sequence_and_a_decoder() {
    let error = |generator: Generator<'_>, prompts: &[Vec<u32>]| {
        let session = FnSession::new(257, prompts, spelling("a"));
        generator.stream(session, &PROMPT).unwrap_err().to_string()
    };
    let one = [PROMPT.to_vec()];
    assert!(error(bytes_generator(r#"{"num_beams": 2}"#), &one).contains("`num_beams` = 2"));
    let sampled = bytes_generator(r#"{"do_sample": true, "num_return_sequences": 2}"#);
    assert!(error(sampled, &one).contains("`num_return_sequences` = 2"));
    assert!(error(Generator::new(config("{}")).unwrap(), &one).contains("a token decoder"));
    let two = [PROMPT.to_vec(), PROMPT.to_vec()];
    assert!(error(bytes_generator("{}"), &two).contains("2 row(s)"));
}

/// Random bytes, most of them invalid UTF-8: nothing is lost and nothing is cut.
#[test]
fn random_bytes_come_out_as_they_decode() {
    let mut random = Lcg(9);
    for _ in 0..50 {
        let text: Vec<u8> = (0..30)
            .map(|_| match random.next_u32() % 4 {
                0 => b"\xF0\x9F\x98\x80"[random.next_u32() as usize % 4],
                1 => b"\xE6\xBC\xA2"[random.next_u32() as usize % 3],
                _ => (random.next_u32() % 128) as u8,
            })
            .collect();
        let ids = text.clone();
        let session = FnSession::new(257, &[PROMPT.to_vec()], move |at: &[u32]| {
            let mut logits = vec![0.0; 257];
            logits[ids[at.len() - 1] as usize] = 1.0;
            logits
        });
        assert_eq!(session.vocab_size(), 257);
        let streamed: String = bytes_generator(r#"{"max_new_tokens": 30}"#)
            .stream(session, &PROMPT)
            .unwrap()
            .map(|piece| piece.unwrap().text)
            .collect();
        assert_eq!(streamed, String::from_utf8_lossy(&text));
    }
}
