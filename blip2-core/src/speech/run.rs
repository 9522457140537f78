//! The journey itself: sound to vectors, vectors and prompts to answers.

use std::{sync::Arc, time::Instant};

use blip2_io::sound::Waveform;
use blip2_lm::generate::CancelToken;

use super::{
    SoundFeatures, SpeechPipeline,
    texts::{SpeechPrompt, SpeechTexts},
};
use crate::{
    error::Blip2Error,
    load::{Loaded, Part},
    memory::{MemoryPrediction, Workload},
    model::LanguageModel,
    verbs::{
        Answer, AnswerStream, LaidOut, Options, Started, Timings, decode, go_on, grow, or_stopped,
        stage,
    },
};

/// Prompts that are known to be possible.
struct Prepared {
    laid_out: LaidOut,
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
        let frames = self.frames(sounds)?;
        let prepared = self.prepare(prompts, &frames, &options)?;
        let written = self
            .hear_all(sounds, options.cancel(), &mut timings)
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
        let frames = self.frames(&[sound]).map_err(Blip2Error::of_item)?;
        let prepared = self
            .prepare(&[prompt], &frames, &options)
            .map_err(Blip2Error::of_item)?;
        let started = self
            .hear_all(&[sound], options.cancel(), &mut timings)
            .map_err(Blip2Error::of_item)
            .and_then(|heard| self.start(&heard, prepared));
        grow(started.map(|started| (started, timings)))
    }

    /// Encodes a sound, for prompts to come.
    pub(super) fn hear_one(
        &self,
        sound: &Waveform,
        options: &Options,
    ) -> Result<(SoundFeatures, Timings), Blip2Error> {
        let options = options.begun();
        let mut timings = Timings::default();
        let frames = self.frames(&[sound]).map_err(Blip2Error::of_item)?;
        let work = Workload {
            batch: 1,
            sound_frames: frames.iter().copied().max().unwrap_or(0),
            ..Workload::default()
        };
        self.inner.memory.check(&work, MemoryPrediction::peak)?;
        let heard = self.hear_all(&[sound], options.cancel(), &mut timings);
        let heard = heard.map_err(Blip2Error::of_item)?;
        // Whoever gave up waiting is not handed what nobody will ask.
        go_on(options.cancel())?;
        let [heard] = <[_; 1]>::try_from(heard).map_err(|heard| Blip2Error::Rows {
            reason: format!("{} sounds were heard of one", heard.len()),
        })?;
        Ok((heard, timings))
    }

    /// Writes after prompts about one sound that was heard.
    pub(super) fn run_heard(
        &self,
        heard: &SoundFeatures,
        prompts: &[SpeechPrompt],
        options: &Options,
    ) -> Result<Vec<Answer>, Blip2Error> {
        if prompts.is_empty() {
            return Ok(Vec::new());
        }
        let started = self.start_heard(heard, prompts, &options.begun())?;
        let written =
            started.and_then(|started| decode(started, self.tokenizer(), Timings::default()));
        or_stopped(written, prompts.len())
    }

    /// Starts a stream after one prompt about a sound that was heard.
    pub(super) fn grow_heard(
        &self,
        heard: &SoundFeatures,
        prompt: SpeechPrompt,
        options: &Options,
    ) -> Result<AnswerStream, Blip2Error> {
        let started = self.start_heard(heard, &[prompt], &options.begun());
        let started = started.map_err(Blip2Error::of_item)?;
        grow(started.map(|started| (started, Timings::default())))
    }

    /// The outer error is of prompts that nothing can be written after, the inner of a start that failed.
    fn start_heard(
        &self,
        heard: &SoundFeatures,
        prompts: &[SpeechPrompt],
        options: &Options,
    ) -> Result<Result<Started, Blip2Error>, Blip2Error> {
        let lengths = vec![heard.len(); prompts.len()];
        let prepared = self.prepare_with(prompts, (&lengths, 0), options)?;
        let sounds = vec![heard.clone(); prompts.len()];
        Ok(self.start(&sounds, prepared))
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
        let silence = vec![0; prompts.len()];
        let prepared = plain.prepare_with(prompts, (&silence, 0), &options)?;
        let written = go_on(options.cancel())
            .and_then(|()| plain.start(&[], prepared))
            .and_then(|started| decode(started, plain.tokenizer(), Timings::default()));
        or_stopped(written, prompts.len())
    }

    /// The frames that the encoder reads of each sound.
    fn frames(&self, sounds: &[&Waveform]) -> Result<Vec<usize>, Blip2Error> {
        let frames = sounds.iter().enumerate().map(|(index, sound)| {
            let frames = self.inner.pictures.frames(sound);
            frames.map_err(|error| Blip2Error::item(index, error))
        });
        frames.collect()
    }

    /// Checks that prompts can be generated after, before any sound is encoded; `frames` are those of each
    /// prompt's sound.
    fn prepare(
        &self,
        prompts: &[SpeechPrompt],
        frames: &[usize],
        options: &Options,
    ) -> Result<Prepared, Blip2Error> {
        let config = &self.inner.config;
        let lengths = frames.iter().map(|frames| config.num_placeholders(*frames));
        let longest = frames.iter().copied().max().unwrap_or(0);
        self.prepare_with(prompts, (&lengths.collect::<Vec<_>>(), longest), options)
    }

    /// The same where it is known how many vectors each prompt's sound has; `sound_frames` are those of the
    /// longest that is still to be encoded.
    fn prepare_with(
        &self,
        prompts: &[SpeechPrompt],
        (lengths, sound_frames): (&[usize], usize),
        options: &Options,
    ) -> Result<Prepared, Blip2Error> {
        let Loaded {
            texts,
            memory,
            generation,
            ..
        } = self.inner.as_ref();
        let decoder = Arc::clone(texts);
        let rows = texts.lay_out(prompts, lengths)?;
        let histories = rows.unpadded();
        let config = options.generation_over(generation);
        let config = texts.with_new_tokens(config, lengths, &histories);
        let generator = options.generator(config, decoder)?;
        let laid_out = LaidOut::new(rows, histories, generator)?;
        let work = Workload {
            batch: prompts.len(),
            prompt_tokens: SpeechTexts::longest(prompts),
            new_tokens: laid_out.new_tokens,
            beams: laid_out.beams(),
            sound_frames,
            ..Workload::default()
        };
        memory.check(&work, MemoryPrediction::peak)?;
        Ok(Prepared {
            laid_out,
            cancel: options.cancel().clone(),
        })
    }

    /// What the language model is given of sounds. Each is encoded alone, so that what it gives does not
    /// depend on the sounds beside it.
    fn hear_all(
        &self,
        sounds: &[&Waveform],
        cancel: &CancelToken,
        timings: &mut Timings,
    ) -> Result<Vec<SoundFeatures>, Blip2Error> {
        let sounds = sounds.iter().enumerate();
        let heard = sounds.map(|(index, sound)| {
            let heard = self.encode(sound, cancel, timings);
            // A call that was stopped is no fault of an item.
            heard.map_err(|error| match error {
                Blip2Error::Cancelled | Blip2Error::Deadline => error,
                other => Blip2Error::item(index, other),
            })
        });
        heard.collect()
    }

    fn encode(
        &self,
        sound: &Waveform,
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
            let sound = reading.at_rate(sound)?;
            reading.input_features(&sound, device)
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
        let Prepared { laid_out, cancel } = prepared;
        go_on(&cancel)?;
        let (since, model) = (Instant::now(), &self.inner.model);
        let (rows, new_tokens) = (&laid_out.rows, laid_out.new_tokens);
        let held = Part::new(&self.inner, |loaded| loaded.model.language_model());
        let session = model.start(sounds, rows, new_tokens)?.held_by(held)?;
        let ahead = |draft: &Arc<LanguageModel>| {
            let ahead = model.start_with(draft, sounds, rows, new_tokens)?;
            Ok::<_, Blip2Error>(ahead.held_by(Arc::clone(draft))?)
        };
        let draft = self.inner.draft.as_ref();
        let ahead = draft.filter(|_| laid_out.writes_one()).map(ahead);
        let ahead = ahead.transpose()?;
        Ok(laid_out.started(session, ahead, since))
    }
}
