//! Pictures described.

use std::{sync::Arc, time::Instant};

use blip2_io::{Tokenizer, config::BlipConfig};
use blip2_lm::generate::{CancelToken, TokenDecoder};

use super::{
    groups::{Group, Grouped, by_length, of_group},
    see::Sight,
};
use crate::{
    error::Blip2Error,
    load::{Loaded, Part, member},
    model::BlipForConditionalGeneration,
    picture::Picture,
    text::PromptRows,
    verbs::{
        Answer, Describes, Options, Started, Timed, Timings, Writer, decode, describing, go_on,
        looking,
    },
};

/// A loaded BLIP-1 that describes pictures (`BlipForConditionalGeneration`). A handle, as
/// [`Blip2Pipeline`](crate::Blip2Pipeline) is.
///
/// ```no_run
/// use blip2_core::{BlipCaptioner, image};
///
/// let blip = BlipCaptioner::from_pretrained("models/blip-image-captioning-base")?;
/// let image = image::open("beach.jpg")?;
/// println!("{}", blip.caption(&image)?);
/// println!("a photography of {}", blip.prompt(&image, "a photography of")?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct BlipCaptioner {
    pub(super) inner: Arc<Loaded<Self>>,
}

member!(BlipCaptioner, BlipConfig, BlipForConditionalGeneration);
member!(pictures BlipCaptioner);
member!(texts BlipCaptioner, tokenizer);
describing!(BlipCaptioner, "../fixtures/blip1_caption");
looking!(BlipCaptioner, "../fixtures/blip1_caption");

impl Writer for BlipCaptioner {
    /// The ids of a caption's beginning.
    type Prompt = Vec<u32>;
    type Looked = Sight;
    type Prepared = Grouped;

    fn tokenizer(&self) -> &Tokenizer {
        &self.inner.texts.tokenizer
    }

    fn prepare(&self, prompts: &[Vec<u32>], options: &Options) -> Result<Grouped, Blip2Error> {
        let mut groups = Vec::new();
        for places in by_length(prompts) {
            let decoder = Arc::clone(&self.inner.texts);
            let generator =
                of_group(options, &places).generator(self.generation(options), decoder)?;
            // All rows of a group have one length.
            let first = places.first().and_then(|&place| prompts.get(place));
            let length = first.map_or(0, Vec::len);
            let group = Group::new(prompts, places, length, generator)?;
            // The first token is the model's own.
            group.check(&self.inner, length.saturating_sub(1))?;
            groups.push(group);
        }
        let cancel = options.cancel().clone();
        Ok(Grouped { groups, cancel })
    }

    fn look_at(
        &self,
        pictures: &[Picture<'_>],
        cancel: &CancelToken,
    ) -> Result<(Sight, Timings), Blip2Error> {
        let vision = self.inner.model.vision_model();
        Sight::of(&self.inner, vision, pictures, cancel)
    }

    fn repeat(&self, looked: &Sight, count: usize) -> Sight {
        looked.repeat(count)
    }

    fn part(&self, looked: &Sight, index: usize) -> Sight {
        looked.select(&[index])
    }

    fn join(&self, looked: &[&Sight]) -> Result<Sight, Blip2Error> {
        Sight::join(looked)
    }

    fn numbers(&self, looked: &Sight) -> usize {
        looked.0.shape().num_elements()
    }

    fn decoder(&self) -> Arc<dyn TokenDecoder> {
        self.inner.texts.clone()
    }

    fn write(
        &self,
        looked: &Sight,
        prepared: Grouped,
        timings: Timings,
    ) -> Result<Vec<Answer>, Blip2Error> {
        prepared.run(|group, cancel| {
            go_on(cancel)?;
            let started = self.start(&looked.select(&group.places), group)?;
            decode(started, self.tokenizer(), timings)
        })
    }

    fn start_one(
        &self,
        looked: &Sight,
        prepared: Grouped,
        _: &mut Timings,
    ) -> Result<Started, Blip2Error> {
        go_on(&prepared.cancel)?;
        self.start(looked, prepared.single()?)
    }

    fn start_many(
        &self,
        looked: &Sight,
        prepared: Grouped,
        _: &mut Timings,
    ) -> Result<Vec<(Vec<usize>, Started)>, Blip2Error> {
        let start = |group: Group| {
            let (places, sight) = (group.places.clone(), looked.select(&group.places));
            Ok((places, self.start(&sight, group)?))
        };
        prepared.groups.into_iter().map(start).collect()
    }
}

impl BlipCaptioner {
    fn start(&self, looked: &Sight, group: Group) -> Result<Started, Blip2Error> {
        let begun = Instant::now();
        let rows = PromptRows::even(group.ids)?;
        let (ids, mask) = (rows.ids(), rows.mask());
        let decoder = self.inner.model.text_decoder();
        let session = decoder.start(ids, mask, looked.0.clone(), group.new_tokens)?;
        let held = Part::new(&self.inner, |loaded| loaded.model.text_decoder());
        Ok(Started {
            session: Timed::new(session.held_by(held)?, begun.elapsed()),
            histories: rows.ids().to_vec(),
            generator: group.generator,
        })
    }
}

impl Describes for BlipCaptioner {
    fn raw(&self, prompt: &str) -> Result<Vec<u32>, Blip2Error> {
        let start = self.inner.model.decoder_start()?;
        self.inner.texts.beginning(prompt, start)
    }

    fn caption_prompt(&self) -> Result<Vec<u32>, Blip2Error> {
        self.raw("")
    }
}
