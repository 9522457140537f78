//! Edges, crops and torchvision's resize against the goldens of `fixtures/preprocessing`.

use blip2_io::{
    image::RgbImage,
    preprocessing::{
        ImageError, ImageProcessor, ImageProcessorConfig, Resample, Resizing, Size, Sizing,
    },
};
use blip2_testing::{assert_says, fixture, json};
use safetensors::SafeTensors;

const PICTURES: [&str; 3] = ["wide", "high", "small"];

fn golden() -> Vec<u8> {
    std::fs::read(fixture("preprocessing/golden.safetensors")).unwrap()
}

fn picture(golden: &SafeTensors<'_>, name: &str) -> RgbImage {
    let tensor = golden.tensor(name).unwrap();
    let &[height, width, 3] = tensor.shape() else {
        panic!("{name} is no picture");
    };
    RgbImage::from_raw(width as u32, height as u32, tensor.data().to_vec()).unwrap()
}

#[test]
fn edges_and_crops_equal_the_reference_to_the_bit() {
    let (bytes, configs) = (golden(), json("preprocessing/golden.json"));
    let golden = SafeTensors::deserialize(&bytes).unwrap();
    for (name, config) in configs["processors"].as_object().unwrap() {
        let config: ImageProcessorConfig = serde_json::from_value(config.clone()).unwrap();
        // What is written is read as the same.
        let again = serde_json::from_value(serde_json::to_value(&config).unwrap()).unwrap();
        assert_eq!(config, again);
        let processor = ImageProcessor::new(config).unwrap();
        for key in PICTURES {
            let expected = golden.tensor(&format!("{name}.{key}")).unwrap();
            let found = processor
                .process(&picture(&golden, &format!("picture.{key}")))
                .unwrap();
            assert_eq!(&found.shape()[1..], expected.shape(), "{name} of {key}");
            let found: Vec<u8> = found.data().iter().flat_map(|v| v.to_le_bytes()).collect();
            assert_eq!(found, expected.data(), "{name} of {key}");
        }
    }
}

#[test]
fn torchvision_s_resize_is_within_one_level() {
    let bytes = golden();
    let golden = SafeTensors::deserialize(&bytes).unwrap();
    let (mut values, mut different) = (0, 0);
    for (name, filter) in [
        ("bicubic", Resample::Bicubic),
        ("bilinear", Resample::Bilinear),
    ] {
        for (height, width) in [(16, 20), (9, 40), (33, 12), (64, 64)] {
            let config = ImageProcessorConfig::default()
                .with_size(Size { height, width })
                .with_resample(filter)
                .with_resizing(Resizing::Torchvision)
                .with_do_rescale(false)
                .with_do_normalize(false);
            let processor = ImageProcessor::new(config).unwrap();
            for key in PICTURES {
                let name = format!("torchvision.{name}.{height}x{width}.{key}");
                let expected = picture(&golden, &name);
                let found = processor.process(&picture(&golden, &format!("picture.{key}")));
                let found = found.unwrap();
                let area = (height * width) as usize;
                for (n, &level) in expected.as_raw().iter().enumerate() {
                    let value = found.data()[(n % 3) * area + n / 3];
                    let distance = (value - f32::from(level)).abs();
                    assert!(distance <= 1.0, "{name}: {value} instead of {level}");
                    values += 1;
                    different += usize::from(distance > 0.0);
                }
            }
        }
    }
    assert!(
        different * 1000 < values,
        "{different} of {values} values differ"
    );
}

/// Where the orders of passes and the widths of weights show, the two ways differ.
#[test]
fn the_two_ways_of_resizing_differ() {
    let bytes = golden();
    let golden = SafeTensors::deserialize(&bytes).unwrap();
    let wide = picture(&golden, "picture.wide");
    let by = |resizing: Resizing, class: &str| {
        let config = ImageProcessorConfig::default()
            .with_size(Size {
                height: 9,
                width: 40,
            })
            .with_resizing(resizing)
            .with_image_processor_type(Some(class.to_string()));
        let processor = ImageProcessor::new(config).unwrap();
        processor.process(&wide).unwrap()
    };
    let pillow = by(Resizing::Pillow, "BlipImageProcessorFast");
    let torchvision = by(Resizing::Torchvision, "BlipImageProcessor");
    assert_ne!(pillow, torchvision);
    assert_eq!(by(Resizing::Folder, "BlipImageProcessor"), pillow);
    assert_eq!(by(Resizing::Folder, "BlipImageProcessorFast"), torchvision);
    for name in ["pillow", "torchvision", "folder"] {
        assert_eq!(name.parse::<Resizing>().unwrap().to_string(), name);
    }
}

#[test]
fn spellings_of_sizes() {
    let read = |text: &str| {
        let config: Result<ImageProcessorConfig, _> = serde_json::from_str(text);
        config.map(|config| (config.size, config.output_size()))
    };
    let square = |side| Size {
        height: side,
        width: side,
    };
    let edge = |shortest_edge| Sizing::Edge {
        shortest_edge,
        longest_edge: None,
    };
    for (text, size, output) in [
        (r#"{ "size": 32 }"#, square(32).into(), Some(square(32))),
        (
            r#"{ "size": [32, 32] }"#,
            square(32).into(),
            Some(square(32)),
        ),
        (r#"{ "size": { "shortest_edge": 32 } }"#, edge(32), None),
        (
            r#"{ "size": 32, "default_to_square": false }"#,
            edge(32),
            None,
        ),
        (
            r#"{ "size": { "shortest_edge": 32 }, "do_center_crop": true, "crop_size": 24 }"#,
            edge(32),
            Some(square(24)),
        ),
        (
            r#"{ "feature_extractor_type": "CLIPFeatureExtractor" }"#,
            edge(224),
            Some(square(224)),
        ),
    ] {
        assert_eq!(read(text).unwrap(), (size, output), "{text}");
    }
    let bad = r#"{ "size": { "max_height": 32 } }"#;
    assert_says(read(bad), &["must be a number", "shortest_edge"]);
    let cut = r#"{ "crop_size": { "shortest_edge": 32 } }"#;
    assert_says(read(cut), &["crop_size"]);
}

/// As the reference does, which refuses a list of another length than three.
#[test]
fn one_number_counts_for_all_channels() {
    let read = |text: &str| serde_json::from_str::<ImageProcessorConfig>(text);
    let one = read(r#"{ "image_mean": 0.5, "image_std": 0.25 }"#).unwrap();
    assert_eq!((one.image_mean, one.image_std), ([0.5; 3], [0.25; 3]));
    for bad in ["[0.5]", "[0.5, 0.5]", "\"half\""] {
        let error = read(&format!(r#"{{ "image_mean": {bad} }}"#));
        assert_says(error, &["a number, or three"]);
    }
}

#[test]
fn sizes_of_no_picture_are_refused() {
    for text in [
        r#"{ "size": 4294967295 }"#,
        r#"{ "size": { "shortest_edge": 100000 } }"#,
        r#"{ "size": { "shortest_edge": 32, "longest_edge": 0 } }"#,
        r#"{ "do_center_crop": true, "crop_size": 4294967295 }"#,
        r#"{ "do_center_crop": true }"#,
    ] {
        let config: ImageProcessorConfig = serde_json::from_str(text).unwrap();
        assert!(
            matches!(config.validate(), Err(ImageError::Config { .. })),
            "{text}"
        );
    }
    let lanczos = ImageProcessorConfig::default()
        .with_resample(Resample::Lanczos)
        .with_resizing(Resizing::Torchvision);
    assert_says(lanczos.validate(), &["resample", "bicubic"]);
}
