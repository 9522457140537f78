//! How a model asks for its weights.
//!
//! A model never opens a file. It is built against [`Weights`], a cursor into a tree of named
//! tensors, and asks for each tensor by its Hugging Face name and shape. What answers is a
//! [`WeightSource`]: a checkpoint on disk, a random initialiser, or a mere plan that counts. The
//! source owns number formats, sharding and mapping, and keeps the account of what was missing or
//! misshapen, so that a model's constructor reads like the list of its parts and all faults of a
//! checkpoint are reported together.

pub(crate) mod bias;
pub(crate) mod cursor;
pub(crate) mod observer;
pub(crate) mod precision;
pub(crate) mod random;
pub(crate) mod request;
pub(crate) mod role;
pub(crate) mod shape;
pub(crate) mod shared;
pub(crate) mod source;
