//! The photo index: it ranks as comparing everything would, whatever was added, removed, saved and
//! opened before, and a file that is not what was written is refused.

use std::{fs, path::Path, time::Duration};

use blip2_core::{
    Blip2Error, Blip2Retrieval, CompareOptions, PhotoIndex,
    photo_index::{Hit, IndexError, SearchOptions},
};
use blip2_io::vectors::{Vectors, names_file};
use blip2_testing::{copy, fixture, picture};

const TEXT: &str = "two dogs in the park";

fn retrieval() -> Blip2Retrieval {
    Blip2Retrieval::from_pretrained(fixture("blip2_itr")).unwrap()
}

fn name(n: u32) -> String {
    format!("photos/{n}.png")
}

fn index(blip2: &Blip2Retrieval, pictures: impl IntoIterator<Item = u32>) -> PhotoIndex {
    let mut index = PhotoIndex::new(blip2);
    let pictures: Vec<_> = pictures
        .into_iter()
        .map(|n| (name(n), picture(n)))
        .collect();
    let pictures = pictures.iter().map(|(name, image)| (name.as_str(), image));
    index.add_batch(blip2, pictures).unwrap();
    index
}

/// What looking at every picture by itself gives: name, score, similarity.
fn brute_force(
    blip2: &Blip2Retrieval,
    pictures: impl IntoIterator<Item = u32>,
    text: &str,
    rerank: usize,
) -> Vec<(String, f32, f32)> {
    let mut all: Vec<_> = pictures
        .into_iter()
        .map(|n| {
            let image = picture(n);
            let similarity = blip2.similarity(&image, text).unwrap();
            let logit = blip2
                .match_batch([(&image, text)], &CompareOptions::default())
                .unwrap()[0]
                .logit;
            (name(n), similarity + logit, similarity)
        })
        .collect();
    all.sort_by(|a, b| b.2.total_cmp(&a.2));
    let mut rest = all.split_off(rerank.min(all.len()));
    all.sort_by(|a, b| b.1.total_cmp(&a.1));
    rest.iter_mut().for_each(|hit| hit.1 = hit.2);
    all.extend(rest);
    all
}

#[track_caller]
fn same(hits: &[Hit], expected: &[(String, f32, f32)]) {
    assert_eq!(hits.len(), expected.len());
    for (hit, (name, score, similarity)) in hits.iter().zip(expected) {
        assert_eq!(&hit.name, name);
        assert!((hit.score - score).abs() < 1e-5, "{hit:?} {score}");
        assert!((hit.similarity - similarity).abs() < 1e-5, "{hit:?}");
    }
}

#[test]
fn a_search_equals_brute_force_before_and_after_every_change() {
    let blip2 = retrieval();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("photos.idx");
    let index = index(&blip2, 0..40);
    for (text, rerank) in [(TEXT, 128), (TEXT, 7), (TEXT, 0), ("a plate of food", 20)] {
        let options = SearchOptions::default().with_limit(100).with_rerank(rerank);
        let hits = index.search(&blip2, text, &options).unwrap();
        same(&hits, &brute_force(&blip2, 0..40, text, rerank));
        let matched = hits.iter().filter(|hit| hit.probability.is_some());
        assert_eq!(matched.count(), rerank.min(40));
    }
    let options = SearchOptions::default().with_limit(100).with_rerank(7);
    let before = index.search(&blip2, TEXT, &options).unwrap();

    index.save(&path).unwrap();
    let mut opened = PhotoIndex::open(&path).unwrap();
    assert_eq!(opened.len(), 40);
    assert!(opened.names().eq(index.names()));
    assert_eq!(opened.search(&blip2, TEXT, &options).unwrap(), before);

    // Some of a mapped file, some in memory, and saved over the file that is mapped.
    for gone in [3, 0, 39] {
        assert!(opened.remove(&name(gone)));
        assert!(!opened.remove(&name(gone)));
    }
    opened.add(&blip2, name(50), &picture(50)).unwrap();
    let left = || (0..40).filter(|n| ![3, 0, 39].contains(n)).chain([50]);
    let expected = brute_force(&blip2, left(), TEXT, 7);
    same(&opened.search(&blip2, TEXT, &options).unwrap(), &expected);
    opened.save(&path).unwrap();
    same(&opened.search(&blip2, TEXT, &options).unwrap(), &expected);
    let reopened = PhotoIndex::open(&path).unwrap();
    same(&reopened.search(&blip2, TEXT, &options).unwrap(), &expected);
    // Nothing but the index is left in the folder.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_picture_finds_itself_first() {
    let blip2 = retrieval();
    let index = index(&blip2, 0..12);
    let hits = index.search_by_picture(&blip2, &picture(5), 4).unwrap();
    assert_eq!(hits.len(), 4);
    assert_eq!(hits[0].name, name(5));
    assert!((hits[0].score - 1.0).abs() < 1e-5);
    let query = blip2.embed_image(&picture(5)).unwrap();
    for pair in hits.windows(2) {
        assert!(pair[0].score >= pair[1].score && pair[1].score < 0.9999);
    }
    for hit in hits {
        let n = (0..12).find(|&n| name(n) == hit.name).unwrap();
        let alike = blip2.embed_image(&picture(n)).unwrap().alike(&query);
        assert!((hit.score - alike.unwrap()).abs() < 1e-5);
        assert_eq!(hit.probability, None);
    }
}

#[test]
fn equal_pictures_keep_the_order_they_were_added_in() {
    let blip2 = retrieval();
    let mut index = PhotoIndex::new(&blip2);
    for name in ["c", "a", "b"] {
        index.add(&blip2, name, &picture(1)).unwrap();
    }
    let hits = index
        .search(&blip2, TEXT, &SearchOptions::default())
        .unwrap();
    let names: Vec<_> = hits.iter().map(|hit| hit.name.as_str()).collect();
    assert_eq!(names, ["c", "a", "b"]);
}

#[test]
fn empty_indices_and_limits_of_zero_find_nothing() {
    let blip2 = retrieval();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("empty.idx");
    PhotoIndex::new(&blip2).save(&path).unwrap();
    let empty = PhotoIndex::open(&path).unwrap();
    assert!(empty.is_empty());
    let options = SearchOptions::default();
    assert_eq!(empty.search(&blip2, TEXT, &options).unwrap(), []);
    assert_eq!(empty.search_by_picture(&blip2, &picture(0), 5).unwrap(), []);
    let index = index(&blip2, 0..3);
    assert!(index.search(&blip2, " ", &options).is_err());
    let late = options.clone().with_timeout(Duration::ZERO);
    let error = index.search(&blip2, TEXT, &late).unwrap_err();
    assert!(
        matches!(error, IndexError::Model(Blip2Error::Deadline)),
        "{error}"
    );
    let none = options.with_limit(0);
    assert_eq!(index.search(&blip2, TEXT, &none).unwrap(), []);
}

#[test]
fn names_are_given_once_and_can_be_told() {
    let blip2 = retrieval();
    let mut index = index(&blip2, 0..2);
    let error = index.add(&blip2, name(1), &picture(9)).unwrap_err();
    assert!(matches!(error, IndexError::Duplicate { .. }), "{error}");
    assert!(error.to_string().contains("photos/1.png"));
    let (a, b) = (picture(7), picture(8));
    let error = index
        .add_batch(&blip2, [("new", &a), ("new", &b)])
        .unwrap_err();
    assert!(matches!(error, IndexError::Duplicate { .. }), "{error}");
    assert_eq!(index.len(), 2, "a refused batch adds nothing");
    for bad in ["", "a\nb", &"x".repeat(5000)] {
        let error = index.add(&blip2, bad, &picture(3)).unwrap_err();
        assert!(matches!(error, IndexError::Name { .. }), "{error}");
        assert!(error.to_string().len() < 200);
    }
}

#[test]
fn an_index_of_other_weights_is_refused() {
    let blip2 = retrieval();
    let folder = copy("blip2_itr");
    let weights = folder.path().join("model.safetensors");
    let mut changed = std::fs::read(&weights).unwrap();
    *changed.last_mut().unwrap() ^= 1;
    std::fs::write(&weights, changed).unwrap();
    let other = Blip2Retrieval::from_pretrained(folder.path()).unwrap();

    let path = folder.path().join("photos.idx");
    index(&blip2, 0..3).save(&path).unwrap();
    let mut opened = PhotoIndex::open(&path).unwrap();
    opened.check(&blip2).unwrap();
    let errors = [
        opened.check(&other).unwrap_err(),
        opened
            .search(&other, TEXT, &SearchOptions::default())
            .unwrap_err(),
        opened
            .search_by_picture(&other, &picture(0), 3)
            .unwrap_err(),
        opened.add(&other, "new", &picture(0)).unwrap_err(),
    ];
    for error in errors {
        assert!(
            matches!(error, IndexError::ForeignWeights { .. }),
            "{error}"
        );
        let text = error.to_string();
        assert!(text.contains(blip2.fingerprint()) && text.contains(other.fingerprint()));
    }
}

/// What opening says of these bytes.
fn opening(path: &Path, bytes: &[u8]) -> Result<PhotoIndex, IndexError> {
    std::fs::write(path, bytes).unwrap();
    PhotoIndex::open(path)
}

#[test]
fn a_file_cut_short_anywhere_is_refused() {
    let blip2 = retrieval();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("photos.idx");
    index(&blip2, 0..2).save(&path).unwrap();
    let whole = std::fs::read(&path).unwrap();
    for length in 0..whole.len() {
        let error = opening(&path, &whole[..length]).unwrap_err();
        match error {
            IndexError::NotAnIndex { .. } => assert!(length < 8, "{length}"),
            IndexError::Length { found, .. } => assert_eq!(found, length as u64),
            other => panic!("{length}: {other}"),
        }
    }
    let longer = [whole.as_slice(), &[0]].concat();
    let error = opening(&path, &longer).unwrap_err().to_string();
    for part in ["photos.idx", &whole.len().to_string(), "make it again"] {
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(opening(&path, &whole).unwrap().len(), 2);
}

#[test]
fn a_changed_byte_anywhere_is_found() {
    let blip2 = retrieval();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("photos.idx");
    index(&blip2, 0..2).save(&path).unwrap();
    let whole = std::fs::read(&path).unwrap();
    // 17 × 32 numbers of each encoded picture stand at the end.
    let encodings = whole.len() - 2 * 17 * 32 * 4;
    for place in 0..encodings {
        let mut changed = whole.clone();
        changed[place] ^= 1 << (place % 8);
        assert!(opening(&path, &changed).is_err(), "{place}");
    }
    for place in [encodings, whole.len() - 1] {
        let mut changed = whole.clone();
        changed[place] ^= 4;
        let opened = opening(&path, &changed).unwrap();
        let options = SearchOptions::default();
        let error = opened.search(&blip2, TEXT, &options).unwrap_err();
        assert!(matches!(error, IndexError::Damaged { .. }), "{error}");
        // What does not read it still works.
        opened
            .search(&blip2, TEXT, &options.with_rerank(0))
            .unwrap();
    }
}

#[test]
fn files_that_are_no_index_or_of_another_version_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("photos.idx");
    let error = opening(&path, b"PNG, say, and more of it").unwrap_err();
    assert!(matches!(error, IndexError::NotAnIndex { .. }), "{error}");
    let error = PhotoIndex::open(folder.path().join("none.idx")).unwrap_err();
    assert!(error.to_string().contains("none.idx"), "{error}");

    let blip2 = retrieval();
    index(&blip2, 0..1).save(&path).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[8] = 3;
    let error = opening(&path, &bytes).unwrap_err();
    assert!(
        matches!(
            error,
            IndexError::Version {
                found: 3,
                known: 2,
                ..
            }
        ),
        "{error}"
    );
    // Sizes that no file can have.
    bytes[8] = 1;
    bytes[12..32].fill(0xff);
    let error = opening(&path, &bytes).unwrap_err();
    assert!(matches!(error, IndexError::Damaged { .. }), "{error}");
    let error = index(&blip2, 0..1).save(folder.path().join("no/such/place.idx"));
    assert!(matches!(error, Err(IndexError::Write { .. })));
}

/// Files whose hash is right and whose content is nonsense all the same.
#[test]
fn nonsense_with_a_right_hash_is_refused() {
    let blip2 = retrieval();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("photos.idx");
    let mut two = PhotoIndex::new(&blip2);
    for (n, name) in ["aa", "bb"].into_iter().enumerate() {
        two.add(&blip2, name, &picture(n as u32)).unwrap();
    }
    two.save(&path).unwrap();
    let whole = std::fs::read(&path).unwrap();
    let encodings = whole.len() - 2 * 17 * 32 * 4;
    // The table begins at 64: length, hash, name; 14 bytes for each picture.
    let (first, second) = (64, 64 + 14);
    let cases: [(usize, &[u8], &str); 7] = [
        (first, &[200, 0, 0, 0], "shorter than its names"),
        (first, &[255, 255, 255, 255], "shorter than its names"),
        (second, &[3, 0, 0, 0], "shorter than its names"),
        (second, &[1, 0, 0, 0], "longer than its names"),
        (second + 12, b"aa", "twice"),
        (first + 12, &[0xff, 0xfe], "no text"),
        (40, &[0xff; 16], "fingerprint"),
    ];
    for (place, bytes, part) in cases {
        let mut changed = whole.clone();
        changed[place..place + bytes.len()].copy_from_slice(bytes);
        let hashed = [&changed[..56], &changed[64..encodings]].concat();
        let hash = xxhash_rust::xxh3::xxh3_64(&hashed);
        changed[56..64].copy_from_slice(&hash.to_le_bytes());
        let error = opening(&path, &changed).unwrap_err().to_string();
        assert!(error.contains(part), "{place}: {error}");
    }
    assert!(opening(&path, &whole).is_ok());
}

/// Pictures of which there is the embedding alone are ranked behind those that are matched, and come back
/// from a file as they were put into it.
#[test]
fn vectors_alone_stand_beside_pictures() {
    let blip2 = retrieval();
    let folder = tempfile::tempdir().unwrap();
    let npy = folder.path().join("computed.npy");
    index(&blip2, 3..8).save_npy(&npy).unwrap();
    let names: Vec<String> = (3..8).map(name).collect();
    fs::write(names_file(&npy), serde_json::to_string(&names).unwrap()).unwrap();
    let vectors = Vectors::open(&npy).unwrap();

    let mut mixed = index(&blip2, 0..3);
    mixed.add_vectors(&blip2, &vectors).unwrap();
    let path = folder.path().join("photos.idx");
    mixed.save(&path).unwrap();
    let opened = PhotoIndex::open(&path).unwrap();
    let options = SearchOptions::default();
    let hits = opened.search(&blip2, TEXT, &options).unwrap();
    assert_eq!(hits, mixed.search(&blip2, TEXT, &options).unwrap());

    let matched = |hit: &&Hit| hit.probability.is_some();
    let matched: Vec<&Hit> = hits.iter().take_while(matched).collect();
    let alone = index(&blip2, 0..3).search(&blip2, TEXT, &options).unwrap();
    assert!(matched.into_iter().eq(&alone));
    let by_similarity = index(&blip2, 3..8)
        .search(&blip2, TEXT, &SearchOptions::default().with_rerank(0))
        .unwrap();
    assert_eq!(hits[3..], by_similarity);

    // Each of them again, or nothing of them.
    let twice = mixed.add_vectors(&blip2, &vectors).unwrap_err();
    assert!(matches!(twice, IndexError::Duplicate { .. }), "{twice}");
    assert_eq!(mixed.len(), 8);
    // A byte more or less, anywhere, is found.
    let bytes = fs::read(&path).unwrap();
    for spoilt in [&bytes[..bytes.len() - 1], &[&bytes[..], &[0]].concat()[..]] {
        fs::write(&path, spoilt).unwrap();
        let error = PhotoIndex::open(&path).unwrap_err();
        assert!(matches!(error, IndexError::Length { .. }), "{error}");
    }
}
