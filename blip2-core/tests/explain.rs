//! Explanations against those of PyTorch's maps and gradients: `fixtures/explain/make.py`. On the CPU, and
//! with the feature on wgpu.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;

use blip2_core::{
    Blip2Error, Blip2Pipeline, Blip2Retrieval, BlipAnswerer, BlipCaptioner, BlipRetrieval,
    CancelToken, Device, Options, Precision, Video, device_by_name,
    explain::{ExplainOptions, Explanation, Method},
    image::RgbImage,
    open_image,
};
use blip2_testing::{fixture, json, workspace};
use serde_json::Value;

/// Devices, and how far values may be from the reference's on each, as a part of the largest.
fn devices() -> impl Iterator<Item = (Device, f32)> {
    let known = [("flex", 1e-4), ("wgpu", 1e-3)].into_iter();
    known.filter_map(|(name, near)| Some((device_by_name(name).ok()?, near)))
}

fn golden(case: &str) -> Value {
    json("explain/golden.json")[case].clone()
}

fn pictures(golden: &Value) -> Vec<RgbImage> {
    let names = golden["pictures"].as_array().unwrap().iter();
    names
        .map(|name| {
            let file = format!("examples/images/{}.png", name.as_str().unwrap());
            open_image(workspace().join(file)).unwrap()
        })
        .collect()
}

fn floats(value: &Value) -> Vec<f32> {
    let values = value.as_array().unwrap().iter();
    values.map(|value| value.as_f64().unwrap() as f32).collect()
}

/// What is to be said of values that are too far from those expected.
fn apart(found: &[f32], expected: &[f32], scale: f32, near: f32) -> Option<String> {
    assert_eq!(found.len(), expected.len());
    let pairs = found.iter().zip(expected);
    let most = pairs.fold(0f32, |most, (a, b)| most.max((a - b).abs()));
    let largest = expected.iter().fold(scale, |most, x| most.max(x.abs()));
    let text = format!("{most:e} off, the largest is {largest:e}");
    (most > near * largest).then_some(text)
}

/// Every map of a case, by every method.
fn judge(case: &str, near: f32, explain: impl Fn(&Value, &ExplainOptions) -> Explanation) {
    let golden = golden(case);
    let mut faults = Vec::new();
    for method in Method::ALL {
        let mut options = ExplainOptions::default().with_method(method);
        if let Some(tokens) = golden["tokens"].as_array() {
            let ids = tokens.iter().map(|id| id.as_u64().unwrap() as u32);
            options = options.with_tokens(ids.collect::<Vec<_>>());
        }
        let why = explain(&golden, &options);
        let expected = golden[method.to_string()].as_array().unwrap();
        assert_eq!(why.method, method);
        // What is lost is the difference of two numbers that are rounded.
        let scale = match method {
            Method::Occlusion => 0.2,
            _ => 0.0,
        };
        if why.tokens.is_empty() {
            let fault = apart(&why.values, &floats(&expected[0]), scale, near);
            faults.extend(fault.map(|fault| format!("{method}: {fault}")));
            continue;
        }
        assert_eq!(why.tokens.len(), expected.len());
        let measured = floats(&golden["measured"]);
        let mut sum = vec![0.0; why.values.len()];
        for (n, (token, expected)) in why.tokens.iter().zip(expected).enumerate() {
            let fault = apart(&token.values, &floats(expected), scale, near);
            faults.extend(fault.map(|fault| format!("{method}, token {n}: {fault}")));
            assert!((token.log_prob - measured[n]).abs() < 1e-3, "{case} {n}");
            sum.iter_mut()
                .zip(&token.values)
                .for_each(|(sum, x)| *sum += x);
        }
        if method != Method::Occlusion {
            sum.iter_mut().for_each(|sum| *sum /= expected.len() as f32);
        }
        assert_eq!(apart(&why.values, &sum, scale, near), None, "{case}");
    }
    assert!(faults.is_empty(), "{case}\n{}", faults.join("\n"));
}

fn question(golden: &Value) -> &str {
    golden["question"].as_str().unwrap()
}

#[test]
fn answers_about_pictures() {
    for (device, near) in devices() {
        for case in [
            "blip2_opt",
            "blip2_t5",
            "instructblip_llama",
            "instructblip_t5",
        ] {
            let blip2 = Blip2Pipeline::builder(fixture(case)).device(device.clone());
            let blip2 = blip2.load().unwrap();
            judge(case, near, |golden, options| {
                let image = &pictures(golden)[0];
                blip2
                    .explain_answer(image, question(golden), options)
                    .unwrap()
            });
        }
    }
}

#[test]
fn answers_about_each_frame_of_a_video() {
    for (device, near) in devices() {
        for case in ["instructblipvideo_llama", "instructblipvideo_t5"] {
            let blip2 = Blip2Pipeline::builder(fixture(case)).device(device.clone());
            let blip2 = blip2.load().unwrap();
            judge(case, near, |golden, options| {
                let video = Video::new(pictures(golden)).unwrap();
                let why = blip2
                    .explain_answer(&video, question(golden), options)
                    .unwrap();
                assert_eq!(why.frames, 4);
                assert_eq!(why.values.len(), 4 * why.grid[0] * why.grid[1]);
                let [map, strip] = [why.heat_map(&video), why.strip(&video)];
                assert!(map.height() > 4 * 300 && strip.height() > 4 * 100);
                why
            });
        }
    }
}

#[test]
fn blip_1_that_answers_and_describes() {
    for (device, near) in devices() {
        let blip = BlipAnswerer::builder(fixture("blip1_vqa")).device(device.clone());
        let blip = blip.load().unwrap();
        judge("blip1_vqa", near, |golden, options| {
            let image = &pictures(golden)[0];
            blip.explain_answer(image, question(golden), options)
                .unwrap()
        });
        let blip = BlipCaptioner::builder(fixture("blip1_caption")).device(device);
        let blip = blip.load().unwrap();
        judge("blip1_caption", near, |golden, options| {
            blip.explain_caption(&pictures(golden)[0], options).unwrap()
        });
    }
}

#[test]
fn comparisons() {
    fn text(golden: &Value) -> &str {
        golden["text"].as_str().unwrap()
    }
    for (device, near) in devices() {
        let blip2 = Blip2Retrieval::builder(fixture("blip2_itr")).device(device.clone());
        let blip2 = blip2.load().unwrap();
        judge("blip2_itr.match", near, |golden, options| {
            let image = &pictures(golden)[0];
            blip2.explain_match(image, text(golden), options).unwrap()
        });
        judge("blip2_itr.similarity", near, |golden, options| {
            let image = &pictures(golden)[0];
            blip2
                .explain_similarity(image, text(golden), options)
                .unwrap()
        });
        let blip = BlipRetrieval::builder(fixture("blip1_itr")).device(device);
        let blip = blip.load().unwrap();
        judge("blip1_itr.match", near, |golden, options| {
            let image = &pictures(golden)[0];
            blip.explain_match(image, text(golden), options).unwrap()
        });
        judge("blip1_itr.similarity", near, |golden, options| {
            let image = &pictures(golden)[0];
            blip.explain_similarity(image, text(golden), options)
                .unwrap()
        });
    }
}

/// Models that are held in other formats are explained as they are; what is rounded is not far from
/// what is not.
#[test]
fn packed_weights_are_explained_as_they_are_held() {
    let image = open_image(workspace().join("examples/images/red-triangle.png")).unwrap();
    let mut peaks = BTreeMap::new();
    for precision in [
        Precision::F32,
        Precision::Bf16,
        Precision::Int8,
        Precision::Int4,
    ] {
        let demo = workspace().join("blip2-cli/demo");
        let blip2 = Blip2Pipeline::builder(demo)
            .precision(precision)
            .load()
            .unwrap();
        let options = ExplainOptions::default();
        let why = blip2
            .explain_answer(&image, "what color is the shape?", &options)
            .unwrap();
        assert_eq!(why.text, "red");
        assert!(why.values.iter().any(|value| *value > 0.0));
        *peaks.entry(why.peak(0)).or_insert(0) += 1;
    }
    assert!(peaks.values().any(|count| *count >= 3), "{peaks:?}");
}

#[test]
fn what_was_written_is_what_is_answered() {
    let blip2 = Blip2Pipeline::from_pretrained(workspace().join("blip2-cli/demo")).unwrap();
    let image = open_image(workspace().join("examples/images/red-triangle.png")).unwrap();
    let asked = "what color is the shape?";
    let answer = blip2.answer(&image, asked).unwrap();
    let why = blip2
        .explain_answer(&image, asked, &ExplainOptions::default())
        .unwrap();
    assert_eq!(why.text, answer.text);
    // The token that ends it is not explained.
    assert_eq!(why.tokens.len() + 1, answer.tokens.len());
    for (found, token) in why.tokens.iter().zip(&answer.tokens) {
        assert_eq!((found.id, &found.text), (token.id, &token.text));
        assert!((found.log_prob - token.log_prob).abs() < 1e-3);
    }
    let given = ExplainOptions::default().with_text(" red ");
    let given = blip2.explain_answer(&image, asked, &given).unwrap();
    assert_eq!((&given.values, given.text.as_str()), (&why.values, "red"));
    let ids: Vec<u32> = why.tokens.iter().map(|token| token.id).collect();
    let given = ExplainOptions::default().with_tokens(ids);
    assert_eq!(
        blip2.explain_answer(&image, asked, &given).unwrap().values,
        why.values
    );
}

#[test]
fn what_makes_no_sense_is_refused() {
    let blip2 = Blip2Pipeline::from_pretrained(workspace().join("blip2-cli/demo")).unwrap();
    let image = RgbImage::new(64, 64);
    let explain = |options| blip2.explain_answer(&image, "what is it?", &options);
    let usual = ExplainOptions::default();
    let empty = explain(usual.clone().with_text("  "));
    assert!(matches!(empty, Err(Blip2Error::EmptyText)));
    let none = explain(usual.clone().with_tokens([]));
    assert!(matches!(none, Err(Blip2Error::EmptyText)));
    let special = explain(usual.clone().with_text("red</s>"));
    assert!(matches!(
        special,
        Err(Blip2Error::SpecialTokenInText { .. })
    ));
    let unknown = explain(usual.clone().with_tokens([3, 1 << 30]));
    assert!(matches!(unknown, Err(Blip2Error::Lm(_))), "{unknown:?}");
    let endless = explain(usual.clone().with_tokens(vec![3; 500]));
    assert!(matches!(endless, Err(Blip2Error::Lm(_))), "{endless:?}");
    let cancel = CancelToken::new();
    cancel.cancel();
    for method in Method::ALL {
        let call = Options::default().with_cancel(cancel.clone());
        let stopped = explain(usual.clone().with_method(method).with_options(call));
        assert!(matches!(stopped, Err(Blip2Error::Cancelled)));
    }
    assert!(matches!(
        blip2.explain_answer(&image, " ", &usual),
        Err(Blip2Error::EmptyQuestion)
    ));
}

#[test]
fn what_would_not_fit_is_refused_before_anything_is_allocated() {
    let demo = workspace().join("blip2-cli/demo");
    let loaded = Blip2Pipeline::from_pretrained(&demo).unwrap();
    let work = blip2_core::memory::Workload::default().with_prompt_tokens(20);
    let predicted = loaded.memory().predict(&work);
    assert!(predicted.explained_peak() > predicted.peak());
    let between = (predicted.explained_peak() + predicted.peak()) / 2;
    let narrow = Blip2Pipeline::builder(&demo)
        .memory_limit(between)
        .load()
        .unwrap();
    let image = RgbImage::new(64, 64);
    let explain = |method| {
        let options = ExplainOptions::default()
            .with_method(method)
            .with_text("red");
        narrow.explain_answer(&image, "what color is it?", &options)
    };
    assert!(matches!(
        explain(Method::Relevance),
        Err(Blip2Error::Memory(_))
    ));
    assert!(explain(Method::Rollout).is_ok());
}
