//! The composition of the three parts: image encoder, Q-Former, language model.

use blip2_io::config::{Blip2Config, TextConfig};
use blip2_kernels::{Bias, Linear, Precision, Weights};
use blip2_lm::{LanguageModel, Session};
use blip2_qformer::{QFormer, QFormerInput, QueryTokens, TextEmbeddings};
use blip2_vision::{VisionModel, VisionOptions};
use burn::{
    module::Module,
    tensor::{Bool, Tensor, TensorData},
};

use super::PromptRows;
use crate::{error::Blip2Error, precision::PrecisionPlan, whole::whole};

/// BLIP-2 for captioning and visual question answering (Li et al., 2023): a ViT, a Q-Former whose
/// query tokens gather what the picture shows, a projection, and a language model: OPT, Flan-T5 or
/// LLaMA.
///
/// InstructBLIP (Dai et al., 2023) has the same parts, but its Q-Former reads the prompt too: see
/// [`query_with`](Self::query_with). InstructBLIP for videos sees each frame alone, and the language
/// model reads what was gathered of all of them.
///
/// This is the model on tensors, each arrow of the data's journey a call of its own; most users
/// want [`Blip2Pipeline`](crate::Blip2Pipeline), which stands on it.
///
/// ```
/// # let blip2 = blip2_core::Blip2Pipeline::from_pretrained("../blip2-cli/demo")?;
/// # let image = blip2.open("../examples/images/red-triangle.png")?;
/// use blip2_core::{GenerationConfig, generate::Generator};
///
/// let model = blip2.model(); // or `Blip2ForConditionalGeneration::load`
/// let pixel_values = blip2.processor().process(&image)?.tensor(blip2.device());
/// let image_embeds = model.encode_image(pixel_values)?; // the image encoder
/// let input = model.query_input(image_embeds);
/// let queried = model.qformer().forward(input)?; // the Q-Former
/// let features = model.project(queried.last_hidden_state); // into the language model's space
///
/// let rows = blip2.prompt_rows(&["Question: what color is the shape? Answer:"])?;
/// let mut session = model.start(&features, &rows, 6)?;
/// let generator = Generator::new(GenerationConfig::default().with_eos_token_id([2]))?;
/// let written = generator.generate(&mut session, rows.ids())?;
/// assert_eq!(blip2.tokenizer().decode(&written[0][0].tokens, true)?.trim(), "red");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Module)]
pub struct Blip2ForConditionalGeneration {
    vision_model: VisionModel,
    query_tokens: QueryTokens,
    qformer: QFormer,
    /// What the Q-Former reads prompts by, if it does.
    text_embeddings: Option<TextEmbeddings>,
    language_projection: Linear,
    language_model: LanguageModel,
    num_query_tokens: usize,
    num_frames: usize,
    #[module(skip)]
    image_token: Option<u32>,
    #[module(skip)]
    decoder_start: Option<u32>,
    #[module(skip)]
    pad_token: Option<u32>,
}

/// What the language model is given of a picture.
///
/// ```
/// # let blip2 = blip2_core::Blip2Pipeline::from_pretrained("../blip2-cli/demo")?;
/// # let image = blip2.open("../examples/images/red-triangle.png")?;
/// let model = blip2.model();
/// let pixel_values = blip2.processor().process(&image)?.tensor(blip2.device());
/// let features = model.query(model.encode_image(pixel_values)?)?;
///
/// let twice = features.select(&[0, 0]); // a picture for each of two prompts
/// let rows = blip2.prompt_rows(&["a photo of", "it is"])?;
/// let (embeds, mask) = model.inputs_embeds(&twice, &rows)?;
/// assert_eq!(embeds.dims()[0], 2);
/// assert_eq!(embeds.dims()[1], mask[0].len());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct ImageFeatures(Tensor<3>);

impl ImageFeatures {
    /// Wraps projected query outputs `[batch, queries, lm_hidden]`.
    pub fn new(projected: Tensor<3>) -> Self {
        Self(projected)
    }

    /// The features, `[batch, queries, lm_hidden]`.
    pub fn tensor(&self) -> Tensor<3> {
        self.0.clone()
    }

    /// The number of pictures.
    pub fn len(&self) -> usize {
        self.0.dims()[0]
    }

    /// Whether there is no picture.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The features of the pictures `rows`, in that order; one may be named several times.
    pub fn select(&self, rows: &[usize]) -> Self {
        let identity =
            rows.len() == self.len() && rows.iter().enumerate().all(|(i, &row)| i == row);
        if identity {
            return self.clone();
        }
        let rows: Vec<i64> = rows.iter().map(|&row| row as i64).collect();
        let count = rows.len();
        let rows = Tensor::from_data(TensorData::new(rows, [count]), &self.0.device());
        Self(self.0.clone().select(0, rows))
    }
}

impl Blip2ForConditionalGeneration {
    /// Builds the model from `weights` at the root of a Hugging Face checkpoint.
    ///
    /// The vision tower and the language model are held as `precision` says; the Q-Former, its
    /// query tokens and the projection always in `f32`.
    ///
    /// # Errors
    ///
    /// For a configuration that makes no sense, and [`Blip2Error::Holes`] if the source of the
    /// weights did not give every tensor; why, it tells in its own account.
    pub fn load(
        config: &Blip2Config,
        weights: &Weights<'_>,
        precision: impl Into<PrecisionPlan>,
    ) -> Result<Self, Blip2Error> {
        whole(Self::build(config, weights, precision.into())?)
    }

    /// The model, perhaps with holes where `weights` gave nothing.
    pub(crate) fn build(
        config: &Blip2Config,
        weights: &Weights<'_>,
        precision: PrecisionPlan,
    ) -> Result<Self, Blip2Error> {
        let exact = weights.with_precision(Precision::F32);
        let vision = weights.with_precision(precision.vision);
        let text = weights.with_precision(precision.language_model);
        let query_width = config.qformer_config.hidden_size;
        config.validate()?;
        let (qformer_config, at) = (&config.qformer_config, exact.at("qformer"));
        let (qformer, text_embeddings) = if config.model_type.reads_instructions() {
            let embeddings = TextEmbeddings::load(qformer_config, &at.at("embeddings"));
            (
                QFormer::load_instructed(qformer_config, &at)?,
                Some(embeddings),
            )
        } else {
            (QFormer::load(qformer_config, &at)?, None)
        };
        let language_model = LanguageModel::load(&config.text_config, &text.at("language_model"))?;
        Ok(Self {
            vision_model: VisionModel::load(&config.vision_config, &vision.at("vision_model"))?,
            query_tokens: QueryTokens::load(config.num_query_tokens, query_width, &exact),
            qformer,
            text_embeddings,
            language_projection: exact.dense_linear(
                "language_projection",
                query_width,
                language_model.embedding_dim(),
                Bias::With,
            ),
            language_model,
            num_query_tokens: config.num_query_tokens,
            num_frames: config.model_type.num_frames(),
            image_token: config.image_token_index,
            decoder_start: config.text_config.decoder_start_token_id(),
            pad_token: config.text_config.pad_token_id(),
        })
    }

    /// The image encoder.
    pub fn vision_model(&self) -> &VisionModel {
        &self.vision_model
    }

    /// The Q-Former.
    pub fn qformer(&self) -> &QFormer {
        &self.qformer
    }

    /// The language model.
    pub fn language_model(&self) -> &LanguageModel {
        &self.language_model
    }

    /// The id of the image placeholder, if the checkpoint uses placeholders.
    pub fn image_token(&self) -> Option<u32> {
        self.image_token
    }

    /// The token that an encoder-decoder's answers begin with; none of a decoder-only model.
    pub fn decoder_start(&self) -> Option<u32> {
        self.decoder_start
    }

    /// The token that fills shorter rows, if the configuration names one.
    pub fn pad_token(&self) -> Option<u32> {
        self.pad_token
    }

    /// How many queries look at a picture, or at each frame of a video.
    pub fn num_query_tokens(&self) -> usize {
        self.num_query_tokens
    }

    /// How many frames are looked at together: those of a video, or 1.
    pub fn num_frames(&self) -> usize {
        self.num_frames
    }

    /// How many positions a picture, or a video, takes in a prompt.
    pub fn num_placeholders(&self) -> usize {
        self.num_query_tokens * self.num_frames
    }

    /// Whether the Q-Former reads the prompt, as InstructBLIP's does.
    pub fn reads_instructions(&self) -> bool {
        self.text_embeddings.is_some()
    }

    /// Encodes pictures, or the frames of videos one after the other.
    ///
    /// # Shapes
    ///
    /// - pixel_values: `[batch, 3, height, width]`
    /// - output: `[batch, patches + 1, vision_hidden]`
    ///
    /// # Errors
    ///
    /// If the pictures' size is not the configured one.
    pub fn encode_image(&self, pixel_values: Tensor<4>) -> Result<Tensor<3>, Blip2Error> {
        let output = self
            .vision_model
            .forward(pixel_values, &VisionOptions::default())?;
        Ok(output.last_hidden_state)
    }

    /// The Q-Former's input for encoded pictures: every query attends to every patch.
    pub fn query_input(&self, image_embeds: Tensor<3>) -> QFormerInput {
        let [batch, ..] = image_embeds.dims();
        QFormerInput::new(self.query_tokens.expand(batch)).image(image_embeds)
    }

    /// Lets the queries gather what encoded pictures show, and projects the result into the
    /// language model's embedding space.
    ///
    /// # Shapes
    ///
    /// - image_embeds: `[batch, patches + 1, vision_hidden]`
    /// - output: `[batch, queries, lm_hidden]`
    ///
    /// # Errors
    ///
    /// If `image_embeds` has another width than the vision tower's, and
    /// [`Blip2Error::Instructions`] for a Q-Former that reads the prompt.
    pub fn query(&self, image_embeds: Tensor<3>) -> Result<ImageFeatures, Blip2Error> {
        if self.reads_instructions() {
            let reason = "its Q-Former reads the prompt too; use `query_with`".into();
            return Err(Blip2Error::Instructions { reason });
        }
        let output = self.qformer.forward(self.query_input(image_embeds))?;
        Ok(self.project(output.last_hidden_state))
    }

    /// The Q-Former's input for encoded pictures and the prompts about them: every query attends to
    /// every patch of its frame and to the prompt, which each frame is given.
    ///
    /// # Shapes
    ///
    /// - image_embeds: `[batch · frames, patches + 1, vision_hidden]`
    /// - instructions: `[batch][seq]`, ids of the Q-Former's own tokenizer
    ///
    /// # Errors
    ///
    /// [`Blip2Error::Instructions`] for a Q-Former that reads no prompt, and for another number of
    /// prompts than of pictures; [`Blip2Error::QFormer`] for prompts with more tokens than the
    /// Q-Former has positions, and for tokens that it does not have.
    pub fn instructed_input(
        &self,
        image_embeds: Tensor<3>,
        instructions: &PromptRows,
    ) -> Result<QFormerInput, Blip2Error> {
        let fault = |reason| Err(Blip2Error::Instructions { reason });
        let Some(embeddings) = &self.text_embeddings else {
            return fault("its Q-Former reads no prompt; use `query`".into());
        };
        let ([frames, ..], prompts) = (image_embeds.dims(), instructions.len());
        if frames != prompts * self.num_frames {
            let each = self.num_frames;
            return fault(format!(
                "{frames} frames for {prompts} prompts of {each} frames each"
            ));
        }
        let device = image_embeds.device();
        let [rows, length] = [frames, instructions.ids()[0].len()];
        let (mut ids, mut mask) = (Vec::new(), Vec::new());
        for (row, attend) in instructions.ids().iter().zip(instructions.mask()) {
            for _ in 0..self.num_frames {
                ids.push(row.clone());
                mask.extend(std::iter::repeat_n(true, self.num_query_tokens));
                mask.extend(attend);
            }
        }
        let shape = [rows, self.num_query_tokens + length];
        let mask = Tensor::from_data(TensorData::new(mask, shape), &device);
        let text = embeddings.forward(&ids)?;
        Ok(self.query_input(image_embeds).text(text).mask(mask))
    }

    /// As [`query`](Self::query), for a Q-Former that reads the prompts too: what the queries gather
    /// is what the prompt asks for. Of a video the features of its frames follow one another.
    ///
    /// # Shapes
    ///
    /// - image_embeds: `[batch · frames, patches + 1, vision_hidden]`
    /// - instructions: `[batch][seq]`, ids of the Q-Former's own tokenizer
    /// - output: `[batch, frames · queries, lm_hidden]`
    ///
    /// # Errors
    ///
    /// As [`instructed_input`](Self::instructed_input).
    pub fn query_with(
        &self,
        image_embeds: Tensor<3>,
        instructions: &PromptRows,
    ) -> Result<ImageFeatures, Blip2Error> {
        let input = self.instructed_input(image_embeds, instructions)?;
        let output = self.qformer.forward(input)?;
        Ok(self.project(output.last_hidden_state))
    }

    /// Projects the queries' outputs into the language model's embedding space. Positions of text
    /// after the queries are left out, and a video's frames follow one another.
    ///
    /// # Shapes
    ///
    /// - query_output: `[batch · frames, queries (+ text), q_hidden]`
    /// - output: `[batch, frames · queries, lm_hidden]`
    pub fn project(&self, query_output: Tensor<3>) -> ImageFeatures {
        let queries = query_output.narrow(1, 0, self.num_query_tokens);
        // Summed exactly: all layers of the language model amplify this one's rounding.
        let projected = self.language_projection.forward_exact(queries);
        let [rows, queries, width] = projected.dims();
        let shape = [rows / self.num_frames, queries * self.num_frames, width];
        ImageFeatures(projected.reshape(shape))
    }

    /// The embeddings of prompts with their pictures, and their attention mask.
    ///
    /// Where the rows hold image placeholders, the features of row `i`'s picture take their
    /// places in order. A checkpoint without placeholders has the features put before the text.
    ///
    /// # Shapes
    ///
    /// - embeddings: `[batch, seq, lm_hidden]`
    /// - mask: `[batch][seq]`, true where a position counts
    ///
    /// # Errors
    ///
    /// [`Blip2Error::Placeholders`] if a row holds more or fewer placeholders than queries, and
    /// [`Blip2Error::Rows`] if there is not one picture for each row.
    pub fn inputs_embeds(
        &self,
        features: &ImageFeatures,
        rows: &PromptRows,
    ) -> Result<(Tensor<3>, Vec<Vec<bool>>), Blip2Error> {
        if features.len() != rows.len() {
            let reason = format!("{} pictures for {} prompts", features.len(), rows.len());
            return Err(Blip2Error::Rows { reason });
        }
        let text = self.language_model.embed(rows.ids())?;
        match self.image_token {
            Some(image_token) => {
                let embeds = place(text, features.tensor(), rows, image_token)?;
                Ok((embeds, rows.mask().to_vec()))
            }
            None => Ok(Self::concatenate(features, text, rows.mask())),
        }
    }

    /// The features put before embedded text, as checkpoints without placeholders read them, and
    /// the mask of both.
    ///
    /// # Shapes
    ///
    /// - text: `[batch, seq, lm_hidden]`
    /// - embeddings: `[batch, queries + seq, lm_hidden]`
    /// - mask: `[batch][queries + seq]`, true where a position counts
    pub fn concatenate(
        features: &ImageFeatures,
        text: Tensor<3>,
        mask: &[Vec<bool>],
    ) -> (Tensor<3>, Vec<Vec<bool>>) {
        let features = features.tensor();
        let [_, queries, _] = features.dims();
        let mask = mask
            .iter()
            .map(|row| [&vec![true; queries], row.as_slice()].concat());
        (Tensor::cat(vec![features, text], 1), mask.collect())
    }

    /// A decode of up to `max_new_tokens` tokens after prompts with their pictures, ready for a
    /// [`Generator`](blip2_lm::Generator).
    ///
    /// # Errors
    ///
    /// As [`inputs_embeds`](Self::inputs_embeds), and if a prompt is longer than the context.
    pub fn start(
        &self,
        features: &ImageFeatures,
        rows: &PromptRows,
        max_new_tokens: usize,
    ) -> Result<Session<&LanguageModel>, Blip2Error> {
        let (embeds, mask) = self.inputs_embeds(features, rows)?;
        let start = self.decoder_start;
        Ok(self
            .language_model
            .start(embeds, &mask, start, max_new_tokens)?)
    }

    /// The same with another language model behind the same features, such as this one held narrower, which
    /// [writes ahead](blip2_lm::generate::Speculative) of this one's.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn start_with<'m>(
        &self,
        language_model: &'m LanguageModel,
        features: &ImageFeatures,
        rows: &PromptRows,
        max_new_tokens: usize,
    ) -> Result<Session<&'m LanguageModel>, Blip2Error> {
        let (embeds, mask) = self.inputs_embeds(features, rows)?;
        Ok(language_model.start(embeds, &mask, self.decoder_start, max_new_tokens)?)
    }
}

/// Whether a model of this configuration has no output head of its own, as far as it says. What a
/// checkpoint of T5 holds goes before it.
pub(crate) fn has_tied_head(config: &Blip2Config) -> bool {
    match &config.text_config {
        TextConfig::T5(text) => text.scale_decoder_outputs,
        TextConfig::Opt(text) => text.tie_word_embeddings,
        TextConfig::Llama(text) => text.tie_word_embeddings,
        TextConfig::Granite(text) => text.tie_word_embeddings,
        _ => false,
    }
}

/// Puts each row's features in its placeholders' places.
fn place(
    text: Tensor<3>,
    features: Tensor<3>,
    rows: &PromptRows,
    image_token: u32,
) -> Result<Tensor<3>, Blip2Error> {
    let [batch, seq, hidden] = text.dims();
    let [_, queries, _] = features.dims();
    let device = text.device();
    let placements = rows.placements(image_token, queries)?;
    let sources: Vec<i64> = placements
        .iter()
        .enumerate()
        .map(|(position, query)| (position / seq * queries + query.unwrap_or(0)) as i64)
        .collect();
    let is_image: Vec<bool> = placements.iter().map(Option::is_some).collect();
    let sources = Tensor::from_data(TensorData::new(sources, [batch * seq]), &device);
    let spread = features
        .reshape([batch * queries, hidden])
        .select(0, sources);
    let is_image =
        Tensor::<3, Bool>::from_data(TensorData::new(is_image, [batch, seq, 1]), &device);
    let is_image = is_image.expand([batch, seq, hidden]);
    Ok(text.mask_where(is_image, spread.reshape([batch, seq, hidden])))
}
