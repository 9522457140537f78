//! x
pub mod generate;

pub use generate::{
    DecodeSession, FinishReason, GenerateError, Generated, GenerationConfig, Generator, Logits,
};
