//! Scores against the public reference implementations; the scripts in `fixtures/scores` made the
//! goldens.

use std::{collections::BTreeMap, fs};

use blip2_train::scores::{
    bleu, caption_words, caption_words_together, cider_d, normalize_answer, recall_at, rouge_l,
    vqa_accuracy,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

fn golden(name: &str) -> Value {
    let folder = blip2_testing::fixture("scores");
    serde_json::from_slice(&fs::read(folder.join(name)).unwrap()).unwrap()
}

fn of<T: DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap()
}

fn near(found: f64, expected: f64, what: &str) {
    let tolerance = 1e-9 * expected.abs().max(1.0);
    assert!(
        (found - expected).abs() <= tolerance,
        "{what}: {found} and not {expected}"
    );
}

#[test]
fn vqa_accuracy_is_the_official_one() {
    let golden = golden("vqa.json");
    for (text, expected) in golden["normalized"].as_object().unwrap() {
        assert_eq!(
            normalize_answer(text),
            expected.as_str().unwrap(),
            "{text:?}"
        );
    }
    let cases = golden["cases"].as_array().unwrap();
    assert!(cases.len() >= 200);
    for case in cases {
        let (answer, people): (String, Vec<String>) = (of(&case["answer"]), of(&case["people"]));
        let what = format!("{answer:?} of {people:?}");
        near(vqa_accuracy(&answer, &people), of(&case["accuracy"]), &what);
    }
}

#[test]
fn bleu_and_cider_are_those_of_coco() {
    let golden = golden("captions.json");
    let captions: Vec<String> = of(&golden["hypotheses"]);
    let references: Vec<Vec<String>> = of(&golden["references"]);
    assert!(captions.len() >= 200);
    let corpus: Vec<f64> = of(&golden["bleu"]);
    let each: Vec<Vec<f64>> = of(&golden["each_bleu"]);
    for longest in 1..=4 {
        let found = bleu(longest, &captions, &references);
        near(found.corpus, corpus[longest - 1], "BLEU of all");
        assert_eq!(found.each.len(), captions.len());
        for (n, caption) in captions.iter().enumerate() {
            near(
                found.each[n],
                each[longest - 1][n],
                &format!("BLEU-{longest} of {caption:?}"),
            );
        }
    }
    let found = cider_d(&captions, &references);
    near(found.corpus, of(&golden["cider"]), "CIDEr-D of all");
    let each: Vec<f64> = of(&golden["each_cider"]);
    for (n, caption) in captions.iter().enumerate() {
        near(found.each[n], each[n], &format!("CIDEr-D of {caption:?}"));
    }
}

#[test]
fn rouge_is_that_of_coco() {
    let own = golden("captions.json");
    let captions: Vec<String> = of(&own["hypotheses"]);
    let references: Vec<Vec<String>> = of(&own["references"]);
    let golden = golden("rouge.json");
    let found = rouge_l(&captions, &references);
    near(found.corpus, of(&golden["rouge"]), "ROUGE-L of all");
    let each: Vec<f64> = of(&golden["each"]);
    assert!(each.len() >= 200 && each.len() == found.each.len());
    for (found, expected) in found.each.iter().zip(each) {
        near(*found, expected, "ROUGE-L of one");
    }
    assert_eq!(rouge_l(&[""], &[vec![""]]).corpus, 1.0);
    assert_eq!(rouge_l::<&str, &str>(&["a"], &[vec![]]).corpus, 0.0);
}

#[test]
fn captions_are_cut_as_coco_cuts_them() {
    let golden = golden("captions.json");
    let (raw, words): (Vec<String>, Vec<String>) = (of(&golden["raw"]), of(&golden["words"]));
    assert!(raw.len() >= 200);
    let different: Vec<_> = raw
        .iter()
        .zip(&words)
        .filter(|(raw, words)| caption_words(raw) != **words)
        .map(|(raw, words)| (raw, caption_words(raw), words))
        .collect();
    assert!(different.is_empty(), "{different:#?}");
}

/// Dashes, emoji, apostrophes, numbers, money, abbreviations, brackets, addresses, quotes and other
/// scripts, alone and each before the next. `make_words.py` made the golden.
#[test]
fn nasty_captions_are_cut_as_coco_cuts_them() {
    let golden = golden("words.json");
    let captions: Vec<(String, String)> = of(&golden["captions"]);
    assert!(captions.len() >= 800);
    let (captions, mut words): (Vec<String>, Vec<String>) = captions.into_iter().unzip();
    let alone: Vec<String> = captions.iter().map(|text| caption_words(text)).collect();
    same_words(&captions, &alone, &words);
    let changed: BTreeMap<usize, String> = of(&golden["together"]);
    assert!(!changed.is_empty());
    for (place, own) in changed {
        words[place] = own;
    }
    same_words(&captions, &caption_words_together(&captions), &words);
}

fn same_words(captions: &[String], found: &[String], expected: &[String]) {
    let rows = captions.iter().zip(found.iter().zip(expected));
    let different: Vec<_> = rows
        .filter(|(_, (found, expected))| found != expected)
        .map(|(caption, (found, expected))| format!("{caption}\n  {found}\n  {expected}"))
        .collect();
    let count = different.len();
    assert!(count == 0, "{count} differ:\n{}", different.join("\n"));
}

#[test]
fn recall_counts_who_finds_one_early() {
    let golden = golden("retrieval.json");
    let cases = golden.as_array().unwrap();
    assert!(cases.len() >= 200);
    let rows: Vec<Vec<f32>> = cases.iter().map(|case| of(&case["row"])).collect();
    let right: Vec<Vec<usize>> = cases.iter().map(|case| of(&case["right"])).collect();
    for (place, k) in [1, 5, 10].into_iter().enumerate() {
        let mut sum = 0.0;
        for (n, case) in cases.iter().enumerate() {
            let found = recall_at(k, &rows[n..=n], &right[n..=n]).unwrap();
            let expected: f64 = of(&case["hits"][place]);
            near(found, expected, &format!("recall@{k} of {case}"));
            sum += expected;
        }
        let all = recall_at(k, &rows, &right).unwrap();
        near(all, sum / cases.len() as f64, "recall of all");
    }
    assert!(recall_at(1, &rows[..1], &[vec![99]]).is_err());
    assert_eq!(recall_at(1, &[], &[]).unwrap(), 0.0);
    assert_eq!(
        recall_at(1, &[vec![f32::NAN, 0.0]], &[vec![1]]).unwrap(),
        1.0
    );
}
