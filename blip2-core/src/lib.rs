//! BLIP-2 in Rust: a picture and a question go in, an answer grounded in the picture comes out.
//!
//! [`Blip2Pipeline`] loads a Hugging Face checkpoint folder of BLIP-2 (with OPT or Flan-T5) and
//! gives the same numbers as `transformers`, without Python, on the CPU or, through wgpu, on a GPU.
//!
//! ```no_run
//! use blip2_core::{Blip2Pipeline, image};
//!
//! let blip2 = Blip2Pipeline::from_pretrained("models/blip2-opt-2.7b")?;
//! let image = image::open("beach.jpg")?;
//! println!("{}", blip2.caption(&image)?);
//! println!("{}", blip2.answer(&image, "How many dogs are there?")?);
//!
//! for piece in blip2.stream(&image, "Question: what is this? Answer:")? {
//!     print!("{}", piece?);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | for | use |
//! |---|---|
//! | answers, captions, raw prompts, streams, batches | [`Blip2Pipeline`] |
//! | videos (InstructBLIP-Video) | [`Blip2Pipeline::open_video`], [`Video`] |
//! | requests that have nothing to do with one another, together | [`AnswerBatch`] |
//! | thousands of pictures, with no place empty | [`AnswerFlow`] |
//! | many questions about one picture | [`Blip2Pipeline::look`], [`Seen`] |
//! | beams, sampling, penalties, stop strings | [`GenerationConfig`] in [`Options`] |
//! | cancelling a call, a deadline | [`Options::with_cancel`], [`Options::with_timeout`]; of comparisons [`CompareOptions`] |
//! | progress of a load, cancelling it | [`Builder::progress`], [`Builder::cancel`] |
//! | constraints on the next token | [`Options::with_constraint`], [`Options::with_constraint_fn`] |
//! | how well pictures and texts go together | [`Blip2Retrieval`] |
//! | BLIP-1, the first model of the name | [`BlipAnswerer`], [`BlipCaptioner`], [`BlipRetrieval`] |
//! | recordings written down, questions about sound (Granite Speech; feature `speech`) | `speech::SpeechPipeline` |
//! | pictures found by a text or by another picture | [`PhotoIndex`] |
//! | the model on tensors, stage by stage | [`model`] |
//! | where in the picture the model looked, for each word | [`explain`] |
//! | what a checkpoint holds and needs | [`mod@inspect`] |
//! | how much memory a model and a call take | [`memory`] |
//! | full size without a download, with random weights | [`Preset`], [`Blip2Pipeline::builder_random`] |
//! | proof that a checkpoint runs as in the reference | the crate `blip2-verify` |
//!
//! # Verbs and their forms
//!
//! | verb | alone | with options | batch | a result for each | streamed | on a picture already seen |
//! |---|---|---|---|---|---|---|
//! | answer | `answer` | `answer_with` | `answer_batch` | `answer_each` | `stream_answer`, `stream_answer_with` | `ask`, `ask_with`, `ask_batch`, `ask_each`, `ask_stream`, `ask_stream_with` |
//! | typed answer | `answer_as` | `answer_as_with` | `answer_as_batch` | | | `ask_as`, `ask_as_with`, `ask_as_batch` |
//! | ranking | `rank`, `answer_one_of` | `rank_with`, `answer_one_of_with` | `rank_batch` | | | `rank`, `rank_with`, `rank_batch`, `ask_one_of`, `ask_one_of_with` |
//! | caption | `caption` | `caption_with` | `caption_batch` | `caption_each` | `stream_caption`, `stream_caption_with` | `caption`, `caption_with`, `caption_stream`, `caption_stream_with` |
//! | prompt | `prompt` | `prompt_with` | `prompt_batch` | `prompt_each` | `stream`, `stream_with` | `prompt`, `prompt_with`, `prompt_batch`, `prompt_each`, `stream`, `stream_with` |
//! | look | `look` | `look_with` | `look_batch` | | | |
//! | match | `match_probability` | `match_probability_with` | `match_batch` | `match_each` | | `match_encoded`, `match_encoded_with` |
//! | similarity | `similarity` | `similarity_with` | `similarity_batch` | | | `similarity_encoded` |
//! | match and similarity | | | | `compare_each` | | |
//! | embed | `embed_image`, `embed_text` | `embed_image_with`, `embed_text_with` | `embed_image_batch`, `embed_text_batch` | `embed_image_each`, `embed_text_each` | | |
//! | encode | `encode` | `encode_with` | `encode_batch` | `encode_each` | | |
//! | explain | | `explain_answer`, `explain_caption`, `explain_prompt`, `explain_match`, `explain_similarity` | | | | |
//!
//! [`Blip2Pipeline`] has all of them but match, similarity, embed and encode, and explains what it writes; [`BlipAnswerer`] answers, [`BlipCaptioner`] describes;
//! [`Blip2Retrieval`] and [`BlipRetrieval`] match and compare; [`ImageEmbedder`] and [`TextEmbedder`]
//! embed. All are loaded by the same [`Builder`] and are handles: cheap to clone, `Send + Sync`.
//! The error of a batch names the item at fault ([`Blip2Error::Item`]).
//!
//! `SpeechPipeline` (feature `speech`) has the verbs `transcribe`, `ask` and `prompt` about a recording, each
//! with options, in a batch and streamed, and `continue_text` without one.
//!
//! # In a server
//!
//! All that is handed out is owned: pipelines and [`Seen`] are `Send + Sync + 'static`, an
//! [`AnswerStream`] is `Send + 'static`. One pipeline serves all tasks; a call computes and must not
//! run on an async executor's own threads; [`Options::with_cancel`] and [`Options::with_timeout`] end
//! it. The page `docs/server.md` of the repository tells of threads, memory, batches and async
//! runtimes, and `examples/async_server.rs` is a program that does it.
//!
//! ```no_run
//! use std::{thread, time::Duration};
//!
//! use blip2_core::{Blip2Pipeline, CancelToken, Options, image};
//!
//! let blip2 = Blip2Pipeline::from_pretrained("models/blip2-opt-2.7b")?;
//! let seen = blip2.look(&image::open("beach.jpg")?)?; // kept for the next question
//! let client = CancelToken::new(); // cancelled when the client leaves
//! let options = Options::default()
//!     .with_cancel(client.clone())
//!     .with_timeout(Duration::from_secs(10));
//! let stream = seen.ask_stream_with("How many dogs are there?", &options)?;
//! thread::spawn(move || stream.map(|piece| println!("{piece:?}")).count());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Features
//!
//! | feature | what is lost without it |
//! |---|---|
//! | `flex` (default) | the pure-Rust CPU backend, with SIMD and threads |
//! | `explain` (default) | [`explain`]: where a model looked; it brings Burn's gradients |
//! | `figures` (part of `explain`) | [`figure`]: contact sheets |
//! | `evcxr` | answers, explanations and pictures that show themselves in a notebook (`notebook`) |
//! | `ndarray` | the older CPU backend, deprecated upstream; slower |
//! | `wgpu` | GPUs, through WGSL shaders on Vulkan, Metal, DirectX 12 or OpenGL |
//! | `vulkan` | GPUs through SPIR-V shaders; not for software drivers |
//! | `metal` | Apple GPUs through Metal shaders |
//! | `webgpu` | WebGPU |
//! | `cuda`, `rocm` | GPUs of NVIDIA and AMD by their own ways; building them downloads an LLVM |
//! | `speech` | questions about sound (`speech`): Granite Speech |
//! | `lavis` | LAVIS's checkpoints, which it writes as Hugging Face folders |
//! | `hub` | downloads from the Hugging Face hub; what Python has downloaded is found without it |
//!
//! # Pictures from strangers
//!
//! [`open_image`] decodes within limits that are checked before anything is allocated, and every
//! fault of a picture, a checkpoint or an argument is a typed [`Blip2Error`], whose
//! [`kind`](Blip2Error::kind) says where it lies.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod blip1;
mod device;
mod door;
mod embedding;
mod error;
#[cfg(feature = "explain")]
pub mod explain;
mod family;
#[cfg(feature = "figures")]
pub mod figure;
mod fit;
pub mod inspect;
mod kind;
mod load;
pub mod memory;
pub mod model;
#[cfg(feature = "evcxr")]
pub mod notebook;
mod pack;
pub mod photo_index;
mod picture;
mod pipeline;
mod precision;
mod preset;
mod retrieval;
#[cfg(feature = "speech")]
pub mod speech;
mod text;
mod verbs;
mod whole;

use std::path::Path;

pub use blip1::{BlipAnswerer, BlipCaptioner, BlipRetrieval};
#[cfg(feature = "lavis")]
pub use blip2_io::lavis;
#[cfg(feature = "speech")]
pub use blip2_io::sound;
pub use blip2_io::{
    Checkpoint, CheckpointFolder, CheckpointWeights, LoadReport, Tokenizer, checkpoint,
    config::{self, Ability, Blip2Config, ModelKind, TextConfig},
    preprocessing, video,
    video::Video,
};
pub use blip2_kernels::device as gpu;
pub use blip2_kernels::{Isa, Precision, Weights};
pub use blip2_lm::generate::{self, CancelToken, FinishReason, GenerationConfig};
pub use burn::{self, tensor::Device};
pub use device::{device_by_name, device_names};
pub use door::opened_with;
pub use embedding::{EncodedPhoto, ImageEmbedding, MatchScore, TextEmbedding};
pub use error::Blip2Error;
pub use image;
pub use kind::ErrorKind;
pub use load::{Builder, LoadProgress, Member};
pub use pack::pack;
pub use photo_index::PhotoIndex;
pub use picture::Picture;
pub use pipeline::{Blip2Pipeline, EncodedImage};
pub use precision::PrecisionPlan;
pub use preset::{Preset, UnknownPreset};
pub use retrieval::{Blip2Retrieval, ImageEmbedder, TextEmbedder};
#[cfg(feature = "speech")]
pub use speech::SpeechPipeline;
pub use text::{AnswerRows, LabeledRows, Template, TextRows};
pub use verbs::{
    Answer, AnswerBatch, AnswerFlow, AnswerPiece, AnswerRequest, AnswerStream, Answers,
    CompareOptions, Compares, Comparison, Describes, Flowing, Grammar, Options, RankOptions,
    Ranked, Seen, Timings, Token, TopToken, Typed, TypedAnswer,
};

#[doc(hidden)]
pub use verbs::Writer;

/// Settings of a [`Blip2Pipeline`].
pub type Blip2PipelineBuilder = Builder<Blip2Pipeline>;
/// Settings of a [`Blip2Retrieval`].
pub type Blip2RetrievalBuilder = Builder<Blip2Retrieval>;

/// Decodes a picture file within the default limits, as
/// [`preprocessing::decode_file`] does; transparency is laid over white.
///
/// ```
/// let image = blip2_core::open_image("../examples/images/red-triangle.png")?;
/// assert!(image.width() > 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`Blip2Error::Image`] naming the file and what is wrong with it.
pub fn open_image(path: impl AsRef<Path>) -> Result<image::RgbImage, Blip2Error> {
    Ok(preprocessing::decode_file(
        path,
        &preprocessing::DecodeOptions::default(),
    )?)
}
