//! The journey itself: sound to vectors, vectors and prompts to answers.

use std::{borrow::Cow, sync::Arc, time::Instant};

use blip2_io::sound::Waveform;
use blip2_lm::generate::{CancelToken, Generator, Speculative};

use super::{
    SoundFeatures, SpeechPipeline,
    texts::{SpeechPrompt, SpeechTexts},
};
use crate::{
    error::Blip2Error,
    load::{Loaded, Part},
    memory::{MemoryPrediction, Workload},
    model::PromptRows,
    verbs::{
        Answer, AnswerStream, Options, Started, Timed, Timings, decode, go_on, grow, or_stopped,
        stage,
    },
};

/// Sounds at the model's rate.
#[derive(Default)]
struct Read<'s> {
    sounds: Vec<Cow<'s, Waveform>>,
    /// The frames that the encoder reads of each.
    frames: Vec<usize>,
}

/// Prompts that are laid out and known to be possible.
struct Prepared {
    rows: PromptRows,
    histories: Vec<Vec<u32>>,
    generator: Generator<'static>,
    new_tokens: usize,
    cancel: CancelToken,
}

impl SpeechPipeline {
    /// Writes after prompts, one for each sound.
    pub(super) fn run(
        &self,
        sounds: &[&Waveform],
        prompts: &[SpeechPrompt],
        options: &Options,
    ) -> Result<Vec<Answer>, Blip2Error> {
        if prompts.is_empty() {
            return Ok(Vec::new());
        }
        let options = options.begun();
        // What cannot be done is refused before the expensive part, not after it.
        let mut timings = Timings::default();
        let read = self.read(sounds, &mut timings)?;
        let prepared = self.prepare(prompts, &read.frames, &options)?;
        let written = self
            .hear_all(read, options.cancel(), &mut timings)
            .and_then(|heard| self.start(&heard, prepared))
            .and_then(|started| decode(started, self.tokenizer(), timings));
        or_stopped(written, prompts.len())
    }

    /// Starts a stream after one prompt about one sound.
    pub(super) fn grow(
        &self,
        sound: &Waveform,
        prompt: SpeechPrompt,
        options: &Options,
    ) -> Result<AnswerStream, Blip2Error> {
        let options = options.begun();
        let mut timings = Timings::default();
        let read = self.read(&[sound], &mut timings);
        let read = read.map_err(Blip2Error::of_item)?;
        let prepared = self
            .prepare(&[prompt], &read.frames, &options)
            .map_err(Blip2Error::of_item)?;
        let started = self
            .hear_all(read, options.cancel(), &mut timings)
            .map_err(Blip2Error::of_item)
            .and_then(|heard| self.start(&heard, prepared));
        grow(started.map(|started| (started, timings)))
    }

    /// Writes after prompts without sound, with the language model as it was before it heard any: without
    /// its adapter.
    pub(super) fn write(
        &self,
        prompts: &[SpeechPrompt],
        options: &Options,
    ) -> Result<Vec<Answer>, Blip2Error> {
        if prompts.is_empty() {
            return Ok(Vec::new());
        }
        let plain = self.without_adapter();
        let options = options.begun();
        let prepared = plain.prepare(prompts, &[], &options)?;
        let written = go_on(options.cancel())
            .and_then(|()| plain.start(&[], prepared))
            .and_then(|started| decode(started, plain.tokenizer(), Timings::default()));
        or_stopped(written, prompts.len())
    }

    /// Sounds at the model's rate, and the frames that the encoder reads of each.
    fn read<'s>(
        &self,
        sounds: &[&'s Waveform],
        timings: &mut Timings,
    ) -> Result<Read<'s>, Blip2Error> {
        let (start, reading) = (Instant::now(), &self.inner.pictures);
        let mut read = Read::default();
        for (index, sound) in sounds.iter().enumerate() {
            let one = || {
                let sound = reading.at_rate(sound)?;
                Ok((reading.frames(&sound)?, sound))
            };
            let (frames, sound) = one().map_err(|error| Blip2Error::item(index, error))?;
            read.sounds.push(sound);
            read.frames.push(frames);
        }
        timings.preprocess = Some(start.elapsed());
        Ok(read)
    }

    /// Checks that prompts can be generated after, before any sound is encoded; `frames` are those of each
    /// prompt's sound, or none at all.
    fn prepare(
        &self,
        prompts: &[SpeechPrompt],
        frames: &[usize],
        options: &Options,
    ) -> Result<Prepared, Blip2Error> {
        let Loaded {
            texts,
            config,
            memory,
            generation,
            ..
        } = self.inner.as_ref();
        let decoder = Arc::clone(texts);
        let generator = options.generator(options.generation_over(generation), decoder)?;
        let vectors = |frames: &usize| config.num_placeholders(*frames);
        let lengths: Vec<usize> = match frames {
            [] => vec![0; prompts.len()],
            frames => frames.iter().map(vectors).collect(),
        };
        let rows = texts.lay_out(prompts, &lengths)?;
        let histories = rows.unpadded();
        let config = generator.config();
        let new_tokens = histories
            .iter()
            .map(|history| config.new_tokens_after(history.len()))
            .try_fold(0, |most, tokens| tokens.map(|tokens| most.max(tokens)))?;
        let work = Workload {
            batch: prompts.len(),
            prompt_tokens: SpeechTexts::longest(prompts),
            new_tokens,
            beams: config.num_beams.max(config.num_return_sequences),
            sound_frames: frames.iter().copied().max().unwrap_or(0),
            ..Workload::default()
        };
        memory.check(&work, MemoryPrediction::peak)?;
        Ok(Prepared {
            rows,
            histories,
            generator,
            new_tokens,
            cancel: options.cancel().clone(),
        })
    }

    /// What the language model is given of sounds. Each is encoded alone, so that what it gives does not
    /// depend on the sounds beside it.
    fn hear_all(
        &self,
        read: Read<'_>,
        cancel: &CancelToken,
        timings: &mut Timings,
    ) -> Result<Vec<SoundFeatures>, Blip2Error> {
        let sounds = read.sounds.into_iter().enumerate();
        let heard = sounds.map(|(index, sound)| {
            let heard = self.hear(sound.into_owned(), cancel, timings);
            // A call that was stopped is no fault of an item.
            heard.map_err(|error| match error {
                Blip2Error::Cancelled | Blip2Error::Deadline => error,
                other => Blip2Error::item(index, other),
            })
        });
        heard.collect()
    }

    fn hear(
        &self,
        sound: Waveform,
        cancel: &CancelToken,
        timings: &mut Timings,
    ) -> Result<SoundFeatures, Blip2Error> {
        let Loaded {
            model,
            pictures: reading,
            device,
            ..
        } = self.inner.as_ref();
        let mut own = Timings::default();
        let features = stage(device, cancel, "preprocess", &mut own.preprocess, || {
            reading.input_features(sound, device)
        })?;
        let frames = stage(device, cancel, "audio", &mut own.audio, || {
            model.encode(features)
        })?;
        let heard = stage(device, cancel, "qformer", &mut own.qformer, || {
            model.project(frames)
        })?;
        for (all, own) in [
            (&mut timings.preprocess, own.preprocess),
            (&mut timings.audio, own.audio),
            (&mut timings.qformer, own.qformer),
        ] {
            *all = Some(all.unwrap_or_default() + own.unwrap_or_default());
        }
        Ok(heard)
    }

    /// Starts a decode after prompts, one for each of the sounds, or without any.
    fn start(&self, sounds: &[SoundFeatures], prepared: Prepared) -> Result<Started, Blip2Error> {
        go_on(&prepared.cancel)?;
        let start = Instant::now();
        let model = &self.inner.model;
        let (rows, new_tokens) = (&prepared.rows, prepared.new_tokens);
        let session = model.start(sounds, rows, new_tokens)?;
        let held = Part::new(&self.inner, |loaded| loaded.model.language_model());
        let session = session.held_by(held)?;
        let session = match self.inner.draft.as_ref().filter(|_| writes_one(&prepared)) {
            Some(draft) => {
                let ahead = model.start_with(draft, sounds, rows, new_tokens)?;
                let session = Speculative::new(session, ahead.held_by(Arc::clone(draft))?);
                let drafts = session.drafts();
                Timed::new(session, start.elapsed()).counting(drafts)
            }
            None => Timed::new(session, start.elapsed()),
        };
        Ok(Started {
            session,
            histories: prepared.histories,
            generator: prepared.generator,
        })
    }
}

/// Whether a single sequence grows.
fn writes_one(prepared: &Prepared) -> bool {
    let config = prepared.generator.config();
    [
        prepared.rows.len(),
        config.num_beams,
        config.num_return_sequences,
    ] == [1; 3]
}
