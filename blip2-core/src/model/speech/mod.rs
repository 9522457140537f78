//! The composition of the three parts: encoder of sound, projector, language model.

mod projector;

use blip2_audio::{ConformerEncoder, ConformerOptions};
use blip2_io::config::{GraniteSpeechConfig, TextConfig};
use blip2_kernels::Weights;
use blip2_lm::{LanguageModel, Session};
use burn::{
    module::Module,
    tensor::{Bool, Tensor, TensorData},
};

pub use projector::SpeechProjector;

use super::PromptRows;
use crate::{error::Blip2Error, precision::PrecisionPlan, whole::whole};

/// Granite Speech (`GraniteSpeechForConditionalGeneration`): a conformer that reads mel features, a
/// [projector](SpeechProjector) that gathers its frames by a Q-Former, and a language model.
///
/// This is the model on tensors, each arrow of the data's journey a call of its own; most users want
/// [`SpeechPipeline`](crate::speech::SpeechPipeline), which stands on it.
///
/// ```
/// # let speech = blip2_core::speech::SpeechPipeline::from_pretrained("../fixtures/granite_speech")?;
/// # let sound = speech.open("../fixtures/granite_speech/noise_713ms.wav")?;
/// use blip2_core::{GenerationConfig, generate::Generator};
///
/// let model = speech.model(); // or `GraniteSpeechForConditionalGeneration::load`
/// let frames = model.encode(speech.input_features(&sound)?)?; // the encoder
/// let heard = model.project(frames)?; // into the language model's space
///
/// let rows = speech.prompt_rows(&[("USER: <|audio|> what is said? ASSISTANT:", heard.len())])?;
/// let mut session = model.start(&[heard], &rows, 6)?;
/// let generator = Generator::new(GenerationConfig::default().with_max_new_tokens(6))?;
/// let written = generator.generate(&mut session, rows.ids())?;
/// println!("{}", speech.tokenizer().decode(&written[0][0].tokens, true)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Module)]
pub struct GraniteSpeechForConditionalGeneration {
    encoder: ConformerEncoder,
    projector: SpeechProjector,
    language_model: LanguageModel,
    #[module(skip)]
    audio_token: u32,
}

/// What the language model is given of one sound.
#[derive(Debug, Clone)]
pub struct SoundFeatures(Tensor<3>);

impl SoundFeatures {
    /// Wraps projected vectors of one sound, `[1, vectors, lm_hidden]`.
    pub fn new(projected: Tensor<3>) -> Self {
        Self(projected)
    }

    /// The vectors, `[1, vectors, lm_hidden]`.
    pub fn tensor(&self) -> Tensor<3> {
        self.0.clone()
    }

    /// How many vectors there are, and so how many placeholders they take.
    pub fn len(&self) -> usize {
        let [sounds, vectors, _] = self.0.dims();
        sounds * vectors
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl GraniteSpeechForConditionalGeneration {
    /// Builds the model from `weights` at the root of a Hugging Face checkpoint (`encoder`,
    /// `projector`, `language_model`).
    ///
    /// The encoder is held as `precision` says of the image encoder, whose place it takes, and the
    /// language model as it says of that; the projector always in `f32`.
    ///
    /// # Errors
    ///
    /// For a configuration that makes no sense, and [`Blip2Error::Holes`] if the source of the weights
    /// did not give every tensor; why, it tells in its own account.
    pub fn load(
        config: &GraniteSpeechConfig,
        weights: &Weights<'_>,
        precision: impl Into<PrecisionPlan>,
    ) -> Result<Self, Blip2Error> {
        whole(Self::build(config, weights, precision.into())?)
    }

    /// The model, perhaps with holes where `weights` gave nothing.
    pub(crate) fn build(
        config: &GraniteSpeechConfig,
        weights: &Weights<'_>,
        precision: PrecisionPlan,
    ) -> Result<Self, Blip2Error> {
        config.validate()?;
        let sound = weights.with_precision(precision.vision);
        let text = weights.with_precision(precision.language_model);
        Ok(Self {
            encoder: ConformerEncoder::load(&config.encoder_config, &sound.at("encoder"))?,
            projector: SpeechProjector::load(config, &weights.at("projector"))?,
            language_model: load_language_model(config, &text)?,
            audio_token: config.audio_token_index,
        })
    }

    /// The encoder of sound.
    pub fn encoder(&self) -> &ConformerEncoder {
        &self.encoder
    }

    /// The projector.
    pub fn projector(&self) -> &SpeechProjector {
        &self.projector
    }

    /// The language model.
    pub fn language_model(&self) -> &LanguageModel {
        &self.language_model
    }

    /// The id of the placeholder for sound. It may be beyond the vocabulary.
    pub fn audio_token(&self) -> u32 {
        self.audio_token
    }

    /// Encodes mel features.
    ///
    /// # Shapes
    ///
    /// - input_features: `[batch, frames, input_dim]`
    /// - output: `[batch, frames, encoder_hidden]`
    ///
    /// # Errors
    ///
    /// [`Blip2Error::Audio`] for no frames, and for frames of another width.
    pub fn encode(&self, input_features: Tensor<3>) -> Result<Tensor<3>, Blip2Error> {
        let output = self
            .encoder
            .forward(input_features, &ConformerOptions::default())?;
        Ok(output.last_hidden_state)
    }

    /// What the language model is given of one encoded sound.
    ///
    /// # Shapes
    ///
    /// - frames: `[1, frames, encoder_hidden]`
    ///
    /// # Errors
    ///
    /// [`Blip2Error::QFormer`] for no frames, and for frames of another width.
    pub fn project(&self, frames: Tensor<3>) -> Result<SoundFeatures, Blip2Error> {
        self.projector.forward(frames).map(SoundFeatures)
    }

    /// The embeddings of prompts with their sounds, and their attention mask. The vectors of all sounds
    /// take the places of the placeholders in order, each row those of its own sound; without sounds
    /// the rows must hold no placeholder.
    ///
    /// # Shapes
    ///
    /// - embeddings: `[batch, seq, lm_hidden]`
    /// - mask: `[batch][seq]`, true where a position counts
    ///
    /// # Errors
    ///
    /// [`Blip2Error::Rows`] if there are sounds and not one for each row, and if a row does not hold as
    /// many placeholders as its sound has vectors.
    pub fn inputs_embeds(
        &self,
        sounds: &[SoundFeatures],
        rows: &PromptRows,
    ) -> Result<(Tensor<3>, Vec<Vec<bool>>), Blip2Error> {
        if !sounds.is_empty() && sounds.len() != rows.len() {
            let reason = format!("{} sounds for {} prompts", sounds.len(), rows.len());
            return Err(Blip2Error::Rows { reason });
        }
        let lengths: Vec<usize> = match sounds {
            [] => vec![0; rows.len()],
            sounds => sounds.iter().map(SoundFeatures::len).collect(),
        };
        let placements = placements(rows, self.audio_token, &lengths)?;
        // The placeholder may have no embedding, so another token stands in for it.
        let looked_up = |&id: &u32| if id == self.audio_token { 0 } else { id };
        let ids = rows.ids().iter();
        let ids: Vec<Vec<u32>> = ids.map(|row| row.iter().map(looked_up).collect()).collect();
        let text = self.language_model.embed(&ids)?;
        let embeds = match sounds {
            [] => text,
            sounds => place(text, sounds, &placements),
        };
        Ok((embeds, rows.mask().to_vec()))
    }

    /// A decode of up to `max_new_tokens` tokens after prompts with their sounds, ready for a
    /// [`Generator`](blip2_lm::Generator).
    ///
    /// # Errors
    ///
    /// As [`inputs_embeds`](Self::inputs_embeds), and if a prompt is longer than the context.
    pub fn start(
        &self,
        sounds: &[SoundFeatures],
        rows: &PromptRows,
        max_new_tokens: usize,
    ) -> Result<Session<&LanguageModel>, Blip2Error> {
        self.start_with(&self.language_model, sounds, rows, max_new_tokens)
    }

    /// The same with another language model behind the same features, such as this one held narrower,
    /// which [writes ahead](blip2_lm::generate::Speculative) of this one's.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn start_with<'m>(
        &self,
        language_model: &'m LanguageModel,
        sounds: &[SoundFeatures],
        rows: &PromptRows,
        max_new_tokens: usize,
    ) -> Result<Session<&'m LanguageModel>, Blip2Error> {
        let (embeds, mask) = self.inputs_embeds(sounds, rows)?;
        Ok(language_model.start(embeds, &mask, None, max_new_tokens)?)
    }
}

/// The language model as Granite Speech has it: it reads the placeholder as token 0, also where it has
/// written it itself; and its own head, in place of Granite's, does not divide logits by `logits_scaling` in
/// `transformers` 5.23, whose tokens, scores and probabilities these are. Earlier versions divided. The
/// likeliest token is the same.
pub(crate) fn load_language_model(
    config: &GraniteSpeechConfig,
    weights: &Weights<'_>,
) -> Result<LanguageModel, Blip2Error> {
    let text = match &config.text_config {
        TextConfig::Granite(text) => &TextConfig::Granite(text.clone().with_logits_scaling(1.0)),
        other => other,
    };
    let model = LanguageModel::load(text, &weights.at("language_model"))?;
    Ok(model.with_placeholder(config.audio_token_index))
}

/// For each position, row by row, which of the vectors of all rows' sounds stands there, if any.
/// `lengths` has the number of vectors of each row's sound.
fn placements(
    rows: &PromptRows,
    audio_token: u32,
    lengths: &[usize],
) -> Result<Vec<Option<usize>>, Blip2Error> {
    let (mut placements, mut before) = (Vec::new(), 0);
    for (row, (ids, &length)) in rows.ids().iter().zip(lengths).enumerate() {
        let mut found = 0;
        placements.extend(ids.iter().map(|&id| {
            (id == audio_token).then(|| {
                found += 1;
                before + found - 1
            })
        }));
        if found != length {
            let reason = format!(
                "row {row} holds {found} placeholders for sound (token {audio_token}) where its sound \
                 has {length} vectors"
            );
            return Err(Blip2Error::Rows { reason });
        }
        before += length;
    }
    Ok(placements)
}

/// Puts the vectors of all sounds, one after another, in their places among embedded text.
fn place(text: Tensor<3>, sounds: &[SoundFeatures], placements: &[Option<usize>]) -> Tensor<3> {
    let [batch, seq, hidden] = text.dims();
    let device = text.device();
    let vectors = sounds.iter().map(SoundFeatures::tensor).collect();
    let vectors = Tensor::cat(vectors, 1);
    let [_, count, _] = vectors.dims();
    let sources = placements.iter().map(|place| place.unwrap_or(0) as i64);
    let sources = TensorData::new(sources.collect::<Vec<_>>(), [batch * seq]);
    let spread = vectors
        .reshape([count, hidden])
        .select(0, Tensor::from_data(sources, &device));
    let is_sound = placements.iter().map(Option::is_some);
    let is_sound = TensorData::new(is_sound.collect::<Vec<_>>(), [batch, seq, 1]);
    let is_sound = Tensor::<3, Bool>::from_data(is_sound, &device);
    text.mask_where(
        is_sound.expand([batch, seq, hidden]),
        spread.reshape([batch, seq, hidden]),
    )
}

impl std::fmt::Debug for GraniteSpeechForConditionalGeneration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GraniteSpeechForConditionalGeneration")
            .finish_non_exhaustive()
    }
}
