//! Embeddings, matches and similarities in SQL against the pipelines alone.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

mod support;

use std::sync::Arc;

use blip2_core::{Blip2Retrieval, BlipRetrieval, CompareOptions};
use blip2_datafusion::{Functions, Loading, Model};
use blip2_io::tables::vector_type;
use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray, BinaryArray, StringArray},
        datatypes::{DataType, Float32Type},
    },
    logical_expr::ReturnFieldArgs,
};
use support::*;

fn photos() -> ArrayRef {
    Arc::new(BinaryArray::from_iter_values(files()))
}

/// All numbers of a column of lists.
fn values(column: &ArrayRef) -> Vec<f32> {
    let lists = column.as_fixed_size_list();
    match lists.values().data_type() {
        DataType::Float32 => lists
            .values()
            .as_primitive::<Float32Type>()
            .values()
            .to_vec(),
        _ => values(lists.values()),
    }
}

#[tokio::test]
async fn a_model_that_writes_embeds_by_its_image_encoder() {
    let blip2 = demo();
    let functions = Functions::new(blip2.clone()).unwrap().with_batch(4);
    let width = blip2.config().vision_config.hidden_size;
    assert_eq!(functions.embedding_shape(), [width]);
    let ctx = session(&functions, vec![("image", photos())]);
    let rows = run(&ctx, "SELECT blip2_embed(image) FROM photos")
        .await
        .unwrap();
    assert_eq!(*rows.column(0).data_type(), vector_type(&[width]));

    let images = images();
    for (row, image) in images.iter().enumerate() {
        let pixels = blip2
            .processor()
            .process(image)
            .unwrap()
            .tensor(blip2.device());
        let vision = blip2.model().vision_model();
        let encoded = vision
            .forward(pixels, &blip2_vision::VisionOptions::default())
            .unwrap();
        let pooled = vision.pool(encoded.last_hidden_state).into_data();
        let pooled = pooled.try_into_vec::<f32>().unwrap();
        assert_eq!(values(rows.column(0))[row * width..][..width], pooled);
    }
}

#[tokio::test]
async fn retrieval_compares_as_it_does_alone() {
    let blip2 = Blip2Retrieval::from_pretrained(fixture("blip2_itr")).unwrap();
    let (images, options) = (images(), CompareOptions::default());
    let text = "a red triangle";
    let pairs = images.iter().map(|image| (image, text));
    let alone = blip2.compare_each(pairs, &options);
    let alone: Vec<_> = alone.into_iter().map(Result::unwrap).collect();
    let functions = Functions::new(blip2.clone()).unwrap().with_batch(4);
    let ctx = session(&functions, vec![("image", photos())]);

    let sql = format!("SELECT blip2_match(image, '{text}') FROM photos");
    let matched: Vec<_> = alone
        .iter()
        .map(|one| Some(one.matched.probability))
        .collect();
    assert_eq!(numbers(&ctx, &sql).await, matched);

    let rows = run(&ctx, "SELECT blip2_embed(image) FROM photos")
        .await
        .unwrap();
    let vectors: Vec<f32> = alone
        .iter()
        .flat_map(|one| one.embedding.values().to_vec())
        .collect();
    assert_eq!(
        *rows.column(0).data_type(),
        vector_type(functions.embedding_shape())
    );
    assert_eq!(functions.embedding_shape().len(), 2);
    assert_eq!(values(rows.column(0)), vectors);

    let sql = format!(
        "SELECT blip2_similarity(blip2_embed(image), blip2_embed_text('{text}')) FROM photos"
    );
    for (found, one) in numbers(&ctx, &sql).await.into_iter().zip(&alone) {
        assert!((found.unwrap() - one.similarity).abs() < 1e-6);
    }
    let sql = "SELECT blip2_similarity(a.e, b.e) FROM
               (SELECT blip2_embed(image) AS e FROM photos) AS a,
               (SELECT blip2_embed(image) AS e FROM photos) AS b";
    let mut found = numbers(&ctx, sql).await;
    let mut alike = Vec::new();
    for a in &alone {
        alike.extend(
            alone
                .iter()
                .map(|b| Some(a.embedding.alike(&b.embedding).unwrap())),
        );
    }
    let order = |a: &Option<f32>, b: &Option<f32>| a.unwrap().total_cmp(&b.unwrap());
    found.sort_by(order);
    alike.sort_by(order);
    for (found, alike) in found.into_iter().zip(alike) {
        assert!((found.unwrap() - alike.unwrap()).abs() < 1e-6);
    }
}

#[tokio::test]
async fn blip1_has_one_vector_for_a_picture() {
    let blip = BlipRetrieval::from_pretrained(fixture("blip1_itr")).unwrap();
    let images = images();
    let alone = blip
        .embed_image_batch(&images, &CompareOptions::default())
        .unwrap();
    let functions = Functions::new(blip).unwrap();
    assert_eq!(functions.embedding_shape(), [alone[0].dim()]);
    let ctx = session(&functions, vec![("image", photos())]);
    let rows = run(&ctx, "SELECT blip2_embed(image) FROM photos")
        .await
        .unwrap();
    let vectors: Vec<f32> = alone.iter().flat_map(|one| one.values().to_vec()).collect();
    assert_eq!(values(rows.column(0)), vectors);
}

#[tokio::test]
async fn pictures_are_found_by_a_text() {
    let functions = Functions::new(Blip2Retrieval::from_pretrained(fixture("blip2_itr")).unwrap());
    let names: ArrayRef = Arc::new(StringArray::from(names()));
    let ctx = session(
        &functions.unwrap(),
        vec![("name", names), ("image", photos())],
    );
    let sql = "SELECT name FROM
               (SELECT name, blip2_similarity(blip2_embed(image), blip2_embed_text('a dog')) AS s FROM photos)
               ORDER BY s DESC LIMIT 3";
    assert_eq!(texts(&ctx, sql).await.len(), 3);
}

/// What is declared of a checkpoint without its weights is what its model gives.
#[test]
fn declared_functions_have_the_types_of_loaded_ones() {
    let members = [
        ("blip2_opt", 4),
        ("blip2_t5", 4),
        ("blip2_itr", 4),
        ("instructblip_t5", 4),
        ("blip1_caption", 3),
        ("blip1_vqa", 3),
        ("blip1_itr", 4),
    ];
    for (name, count) in members {
        let model = Model::open(fixture(name), &Loading::default()).unwrap();
        let loaded = Functions::new(model).unwrap();
        let declared = Functions::declared(fixture(name)).unwrap();
        assert_eq!(loaded.kind(), declared.kind(), "{name}");
        assert_eq!(
            loaded.embedding_shape(),
            declared.embedding_shape(),
            "{name}"
        );
        let (loaded, declared) = (
            loaded.scalar_functions().unwrap(),
            declared.scalar_functions().unwrap(),
        );
        assert_eq!(loaded.len(), count, "{name}");
        assert_eq!(declared.len(), count, "{name}");
        for (loaded, declared) in loaded.iter().zip(&declared) {
            assert_eq!(loaded.name(), declared.name());
            let returned = |function: &datafusion::logical_expr::ScalarUDF| {
                let args = ReturnFieldArgs {
                    arg_fields: &[],
                    scalar_arguments: &[],
                };
                function.return_field_from_args(args).unwrap()
            };
            assert_eq!(returned(loaded), returned(declared), "{name}");
        }
    }
}

#[test]
fn what_sees_no_single_pictures_is_refused_with_the_way_out() {
    for (name, said) in [
        ("instructblipvideo_t5", "instructblip-flan-t5-xl"),
        ("clip_vision", "blip2-opt-2.7b"),
    ] {
        let refused = Functions::declared(fixture(name)).unwrap_err().to_string();
        assert!(refused.contains(said), "{refused}");
        let refused = Model::open(fixture(name), &Loading::default())
            .unwrap_err()
            .to_string();
        assert!(refused.contains(said), "{refused}");
    }
}

#[tokio::test]
async fn similarity_is_the_cosine_of_lists_of_any_kind() {
    let ctx = datafusion::prelude::SessionContext::new();
    ctx.register_udf(blip2_datafusion::similarity());
    let cases = [
        ("[1.0, 0.0], [0.0, 2.0]", Some(0.0)),
        ("[3.0, 4.0], [3.0, 4.0]", Some(1.0)),
        ("[3.0, 4.0], [-3.0, -4.0]", Some(-1.0)),
        (
            "arrow_cast([3.0, 4.0], 'FixedSizeList(2, Float32)'), arrow_cast([4.0, 3.0], 'LargeList(Float32)')",
            Some(0.96),
        ),
        // The most similar of a picture's vectors.
        ("[[1.0, 0.0], [0.6, 0.8]], [0.0, 1.0]", Some(0.8)),
        (
            "[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, 0.0]]",
            Some(0.5),
        ),
        ("[0.0, 0.0], [1.0, 0.0]", None),
        ("NULL, [1.0, 0.0]", None),
        ("[1.0, NULL], [1.0, 0.0]", None),
    ];
    for (args, cosine) in cases {
        let found = numbers(&ctx, &format!("SELECT blip2_similarity({args})")).await;
        match (found.as_slice(), cosine) {
            ([Some(found)], Some(cosine)) => {
                assert!((found - cosine).abs() < 1e-6, "{args}: {found}")
            }
            ([found], cosine) => assert_eq!(*found, cosine, "{args}"),
            _ => panic!("{args}: {found:?}"),
        }
    }
    let said = refusal(&ctx, "SELECT blip2_similarity([1.0, 0.0], [1.0])").await;
    assert!(said.contains("2 and 1 numbers"), "{said}");
    let said = refusal(&ctx, "SELECT blip2_similarity([1.0, 0.0], ['a'])").await;
    assert!(said.contains("blip2_embed"), "{said}");
}
