//! Where in the picture a model looked: how much each patch carried an answer, a caption, a given
//! text, or a comparison, for each token and over the whole.
//!
//! ```
//! # let blip2 = blip2_core::Blip2Pipeline::from_pretrained("../blip2-cli/demo")?;
//! # let image = blip2.open("../examples/images/red-triangle.png")?;
//! use blip2_core::explain::{ExplainOptions, Method};
//!
//! let question = "what color is the shape?";
//! let why = blip2.explain_answer(&image, question, &ExplainOptions::default())?;
//! println!("{}: {:?}", why.text, why.values); // row by row of the 8×8 patches
//! let drawn = why.heat_map(&image); // a picture of it
//! # assert!(drawn.width() > 64);
//!
//! // The same by hiding patch after patch: slower, and nothing to argue with.
//! let options = ExplainOptions::default().with_method(Method::Occlusion);
//! let lost = blip2.explain_answer(&image, question, &options)?;
//! assert_eq!(lost.text, "red");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | verb | of |
//! |---|---|
//! | `explain_answer` | [`Blip2Pipeline`](crate::Blip2Pipeline), [`BlipAnswerer`](crate::BlipAnswerer) |
//! | `explain_caption`, `explain_prompt` | [`Blip2Pipeline`](crate::Blip2Pipeline), [`BlipCaptioner`](crate::BlipCaptioner) |
//! | `explain_match`, `explain_similarity` | [`Blip2Retrieval`](crate::Blip2Retrieval), [`BlipRetrieval`](crate::BlipRetrieval) |
//!
//! # What it costs
//!
//! The model is not loaded again, in whatever format its weights are held. [`Method::Relevance`] runs
//! it forward and back once for each token, and holds the activations and attention maps of all layers
//! in `f32` while it does so: 2.8 GB of BLIP-2 OPT-2.7b, beside its 7.7 GB of weights in `bf16`, which
//! [`explained_peak`](crate::memory::MemoryPrediction::explained_peak) predicts and a pipeline refuses
//! where it would not fit. A packed matrix is unpacked for the backward pass and dropped after it.
//! [`Method::Rollout`] and [`Method::Attention`] hold the maps alone; [`Method::Occlusion`] holds what
//! eight answers at once do, and runs once for each patch.
//!
//! # What it means
//!
//! Values of one method and one picture are to be compared with one another, and with nothing else. An
//! explanation says what the numbers of the model did, not whether the answer is right. What each
//! method was found to be worth where the truth is known stands in `docs/explain.md` of the repository.

mod blip1;
mod blip2;
mod draw;
mod explaining;
mod explanation;
mod find;
mod matrix;
mod method;
mod occlude;
mod options;
mod retrieval;
mod scene;
mod traces;
mod trail;
mod walk;

pub use explanation::{ExplainedToken, Explanation};
pub use method::Method;
pub use options::ExplainOptions;
