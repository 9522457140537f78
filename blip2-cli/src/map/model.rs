//! The model at work on a batch.

use arrow_array::RecordBatch;
use blip2_core::{
    Answer, AnswerBatch, AnswerRequest, Answers, Blip2Error, CompareOptions, Comparison, Describes,
    GenerationConfig, Options, Picture, RankOptions, Ranked, Seen, Template, Writer,
    preprocessing::{ImageProcessor, PixelValues},
};
use image::RgbImage;

use super::{
    check::check,
    feed::Prepared,
    made::Made,
    members::{Captions, Questions, Verbal},
    verbs::Verbs,
};
use crate::{
    Failure,
    args::{embed::Feature, map::MapArgs},
    embed::features::{Embedder, Member},
    family::of_row,
};

/// A model that was opened, with what it is asked.
pub(super) struct Model {
    embedder: Embedder,
    verbs: Verbs,
    generation: GenerationConfig,
    template: Option<Template>,
    ranking: RankOptions,
    feature: Feature,
    /// The shape of a picture's vector.
    pub(super) shape: Vec<usize>,
}

/// The result of a row, or what is wrong with it.
type Each<T> = Vec<Result<T, String>>;

impl Model {
    pub(super) fn open(args: &MapArgs, verbs: Verbs) -> Result<Self, Failure> {
        // Refused before a model is loaded for minutes.
        let generation = args.generation.config()?;
        let embedder = Embedder::open(&args.model, "map")?;
        check(embedder.member(), &verbs, args)?;
        let mut ranking = RankOptions::default();
        if let Some(template) = &args.template {
            ranking = ranking.with_template(template.clone());
        }
        let (feature, shape) = match verbs.embed {
            false => (Feature::Pooled, Vec::new()),
            true => {
                let feature = embedder.feature(args.features)?;
                let blank = embedder.processor().process(&RgbImage::new(1, 1));
                let blank = blank.map_err(Failure::work)?;
                (feature, embedder.of_pictures(vec![blank], feature)?.shape)
            }
        };
        Ok(Self {
            embedder,
            verbs,
            generation,
            template: args.template.clone(),
            ranking,
            feature,
            shape,
        })
    }

    /// What prepares pictures.
    pub(super) fn processor(&self) -> &ImageProcessor {
        self.embedder.processor()
    }

    pub(super) fn verbs(&self) -> &Verbs {
        &self.verbs
    }

    /// Computes a batch; `first` is the number of its first row in the table.
    pub(super) fn compute(&self, prepared: &Prepared, first: u64) -> Result<Vec<Made>, Failure> {
        let mut made: Vec<Made> = Vec::new();
        let mut rows = Vec::new();
        for (row, picture) in prepared.pictures.iter().enumerate() {
            let mut own = Made::default();
            match picture {
                Ok(pixels) => rows.push((row, pixels)),
                Err(error) => own.fail(error.clone()),
            }
            made.push(own);
        }
        if rows.is_empty() {
            return Ok(made);
        }
        let mut work = Work {
            model: self,
            batch: &prepared.read,
            rows,
            options: self.options_from(first),
            made: &mut made,
        };
        match self.embedder.member() {
            Member::Blip2(blip2) => work.both(blip2.as_ref())?,
            Member::Captioner(blip) => work.describe(blip.as_ref())?,
            Member::Answerer(blip) => work.answer(blip.as_ref())?,
            Member::Retrieval(blip2) => {
                work.compare(|pairs| blip2.compare_each(pairs, &CompareOptions::default()))?
            }
            Member::BlipRetrieval(blip) => {
                work.compare(|pairs| blip.compare_each(pairs, &CompareOptions::default()))?
            }
        }
        work.embed()?;
        Ok(made)
    }

    /// The options of a batch. Samples of one batch are drawn from one row of random numbers, of which
    /// each batch has its own.
    fn options_from(&self, first: u64) -> Options {
        let seed = self.generation.seed.wrapping_add(first);
        let options = Options::default().with_generation(self.generation.clone().with_seed(seed));
        match &self.template {
            Some(template) => options.with_template(template.clone()),
            None => options,
        }
    }
}

/// A batch on its way.
struct Work<'a> {
    model: &'a Model,
    batch: &'a RecordBatch,
    /// The rows that have a picture.
    rows: Vec<(usize, &'a PixelValues)>,
    options: Options,
    made: &'a mut [Made],
}

impl Work<'_> {
    fn set(&mut self, row: usize, act: impl FnOnce(&mut Made)) {
        if let Some(made) = self.made.get_mut(row) {
            act(made);
        }
    }

    /// Of a model that answers and describes.
    fn both<P: Answers + Describes + Captions + Questions>(
        &mut self,
        member: &P,
    ) -> Result<(), Failure> {
        let verbs = &self.model.verbs;
        let scores_captions = verbs.score.is_some() && verbs.question.is_none();
        let looks = verbs.rank.is_some() || verbs.score.is_some();
        if !verbs.writes() {
            return Ok(());
        }
        if verbs.caption.is_some() && !verbs.answer && !looks {
            return self.describe(member);
        }
        if verbs.answer && verbs.caption.is_none() && !looks {
            return self.answer(member);
        }
        // Several things are asked of one picture: it is encoded once.
        let seen = self.look(member)?;
        self.write(&seen)?;
        self.rank(&seen)?;
        match scores_captions {
            true => self.score(&seen, |rows, ranking| {
                let rows = rows
                    .iter()
                    .map(|(seen, _, texts)| (*seen, texts.as_slice()));
                Seen::rank_captions_each(rows, ranking)
            }),
            false => self.score(&seen, score_answers),
        }
    }

    fn look<P: Verbal>(&mut self, member: &P) -> Result<Vec<(usize, Seen<P>)>, Failure> {
        let pictures: Vec<Picture<'_>> = self
            .rows
            .iter()
            .map(|(_, pixels)| (*pixels).into())
            .collect();
        let looked = each(&pictures, &|pictures| member.look_together(pictures))?;
        let mut seen = Vec::new();
        let rows: Vec<usize> = self.rows.iter().map(|(row, _)| *row).collect();
        for (row, looked) in rows.into_iter().zip(looked) {
            match looked {
                Ok(looked) => seen.push((row, looked)),
                Err(error) => self.set(row, |made| made.fail(error)),
            }
        }
        Ok(seen)
    }

    /// Captions and answers of pictures that were looked at, all together.
    fn write<P: Answers + Describes>(&mut self, seen: &[(usize, Seen<P>)]) -> Result<(), Failure> {
        let verbs = &self.model.verbs;
        let mut requests = Vec::new();
        for (row, seen) in seen {
            if let Some(prompt) = &verbs.caption {
                let request = match prompt {
                    None => Ok(seen.request_caption(&self.options)),
                    Some(prompt) => prompt
                        .texts(self.batch)
                        .get(*row)
                        .map(|prompt| seen.request_prompt(prompt, &self.options)),
                };
                requests.push((*row, true, request));
            }
            if let (true, Some(question)) = (verbs.answer, &verbs.question) {
                let question = question.texts(self.batch).get(*row);
                let request = question.map(|question| seen.request(question, &self.options));
                requests.push((*row, false, request));
            }
        }
        let (mut places, mut ready) = (Vec::new(), Vec::new());
        for (row, is_caption, request) in requests {
            match request.map(of_row) {
                Ok(request) => match request? {
                    Ok(request) => {
                        places.push((row, is_caption));
                        ready.push(request);
                    }
                    Err(error) => self.set(row, |made| made.fail(error)),
                },
                Err(error) => self.set(row, |made| made.fail(error)),
            }
        }
        for ((row, is_caption), answer) in places.into_iter().zip(answered(&ready)?) {
            self.set(row, |made| {
                let answer = made.take(answer);
                match is_caption {
                    true => made.caption = answer,
                    false => made.answer = answer,
                }
            });
        }
        Ok(())
    }

    fn rank<P: Answers>(&mut self, seen: &[(usize, Seen<P>)]) -> Result<(), Failure> {
        let verbs = &self.model.verbs;
        let (Some(given), Some(question)) = (&verbs.rank, &verbs.question) else {
            return Ok(());
        };
        let questions = question.texts(self.batch);
        let mut rows = Vec::new();
        for (row, seen) in seen {
            let asked = questions.get(*row);
            match asked.and_then(|asked| Ok((asked, given.get(self.batch, *row)?))) {
                Ok((question, texts)) => rows.push((*row, seen, question, texts)),
                Err(error) => self.set(*row, |made| made.fail(error)),
            }
        }
        let texts: Vec<Vec<&str>> = rows
            .iter()
            .map(|(.., texts)| texts.iter().map(String::as_str).collect())
            .collect();
        let asked = rows.iter().zip(&texts);
        let asked =
            asked.map(|((_, seen, question, _), texts)| (*seen, *question, texts.as_slice()));
        let ranked = Seen::rank_each(asked, &self.model.ranking);
        for ((row, ..), ranked) in rows.iter().zip(ranked) {
            let ranked = of_row(ranked)?;
            self.set(*row, |made| made.ranked = made.take(ranked));
        }
        Ok(())
    }

    fn score<P: Answers>(
        &mut self,
        seen: &[(usize, Seen<P>)],
        run: impl Fn(&[Scored<'_, P>], &RankOptions) -> Vec<Result<Vec<Ranked>, Blip2Error>>,
    ) -> Result<(), Failure> {
        let verbs = &self.model.verbs;
        let Some(texts) = &verbs.score else {
            return Ok(());
        };
        let texts = texts.texts(self.batch);
        let questions = verbs.question.as_ref().map(|asked| asked.texts(self.batch));
        let (mut places, mut rows) = (Vec::new(), Vec::new());
        for (row, seen) in seen {
            let question = questions.as_ref().map_or(Ok(""), |asked| asked.get(*row));
            match question.and_then(|question| Ok((question, texts.get(*row)?))) {
                Ok((question, text)) => {
                    places.push(*row);
                    rows.push((seen, question, [text]));
                }
                Err(error) => self.set(*row, |made| made.fail(error)),
            }
        }
        for (row, scored) in places.into_iter().zip(run(&rows, &self.model.ranking)) {
            let scored = of_row(scored)?;
            self.set(row, |made| {
                made.scored = made
                    .take(scored)
                    .and_then(|ranked| ranked.into_iter().next());
            });
        }
        Ok(())
    }

    /// Of a model that describes.
    fn describe<P: Describes + Captions>(&mut self, member: &P) -> Result<(), Failure> {
        let batch = self.batch;
        let captions: Vec<_> = match &self.model.verbs.caption {
            None => return Ok(()),
            Some(None) => {
                let pictures = self.rows.iter().map(|(_, pixels)| Picture::from(*pixels));
                let captions = member.captions(pictures.collect(), &self.options);
                self.rows
                    .iter()
                    .map(|(row, _)| *row)
                    .zip(captions)
                    .collect()
            }
            Some(Some(prompt)) => {
                let (rows, pairs) = self.pairs(|row| prompt.texts(batch).get(row));
                let captions = member.prompted(pairs, &self.options);
                self.fail_others(&rows, |row| prompt.texts(batch).get(row));
                rows.into_iter().zip(captions).collect()
            }
        };
        for (row, caption) in captions {
            let caption = of_row(caption)?;
            self.set(row, |made| made.caption = made.take(caption));
        }
        Ok(())
    }

    /// Of a model that answers.
    fn answer<P: Answers + Questions>(&mut self, member: &P) -> Result<(), Failure> {
        let verbs = &self.model.verbs;
        if verbs.rank.is_some() || verbs.score.is_some() {
            let seen = self.look(member)?;
            self.rank(&seen)?;
            self.score(&seen, score_answers)?;
        }
        let (true, Some(question)) = (verbs.answer, &verbs.question) else {
            return Ok(());
        };
        let batch = self.batch;
        let (rows, pairs) = self.pairs(|row| question.texts(batch).get(row));
        let answers = member.answers(pairs, &self.options);
        self.fail_others(&rows, |row| question.texts(batch).get(row));
        for (row, answer) in rows.into_iter().zip(answers) {
            let answer = of_row(answer)?;
            self.set(row, |made| made.answer = made.take(answer));
        }
        Ok(())
    }

    /// Of a model that compares.
    fn compare(
        &mut self,
        run: impl Fn(Vec<(Picture<'_>, &str)>) -> Vec<Result<Comparison, Blip2Error>>,
    ) -> Result<(), Failure> {
        let Some(text) = &self.model.verbs.matched else {
            return Ok(());
        };
        let batch = self.batch;
        let (rows, pairs) = self.pairs(|row| text.texts(batch).get(row));
        let compared = run(pairs);
        self.fail_others(&rows, |row| text.texts(batch).get(row));
        for (row, compared) in rows.into_iter().zip(compared) {
            let compared = of_row(compared)?;
            self.set(row, |made| made.compared = made.take(compared));
        }
        Ok(())
    }

    /// Pictures with a text each, and their rows; rows without a text are left out.
    fn pairs<'t>(
        &self,
        text: impl Fn(usize) -> Result<&'t str, String>,
    ) -> (Vec<usize>, Vec<(Picture<'_>, &'t str)>) {
        let rows = self.rows.iter();
        rows.filter_map(|(row, pixels)| Some((*row, ((*pixels).into(), text(*row).ok()?))))
            .unzip()
    }

    /// Says of the rows that were left out why they were.
    fn fail_others<'t>(&mut self, rows: &[usize], text: impl Fn(usize) -> Result<&'t str, String>) {
        let others: Vec<usize> = self.rows.iter().map(|(row, _)| *row).collect();
        for row in others.into_iter().filter(|row| !rows.contains(row)) {
            if let Err(error) = text(row) {
                self.set(row, |made| made.fail(error));
            }
        }
    }

    /// The pictures' vectors.
    fn embed(&mut self) -> Result<(), Failure> {
        if !self.model.verbs.embed {
            return Ok(());
        }
        let size = self.model.shape.iter().product::<usize>().max(1);
        let mut left = Vec::new();
        for (row, pixels) in std::mem::take(&mut self.rows) {
            // What was compared was projected already.
            let known = match self.model.feature {
                Feature::Projected => self.made.get(row).and_then(|made| made.compared.as_ref()),
                _ => None,
            };
            match known.map(|compared| compared.embedding.values().to_vec()) {
                Some(values) => self.set(row, |made| made.embedding = Some(values)),
                None => left.push((row, pixels)),
            }
        }
        if left.is_empty() {
            return Ok(());
        }
        let pixels = left.iter().map(|(_, pixels)| (*pixels).clone()).collect();
        let values = self
            .model
            .embedder
            .of_pictures(pixels, self.model.feature)?;
        for ((row, _), vector) in left.iter().zip(values.values.chunks(size)) {
            self.set(*row, |made| made.embedding = Some(vector.to_vec()));
        }
        Ok(())
    }
}

/// A picture with a question, if there is one, and the text to score.
type Scored<'s, P> = (&'s Seen<P>, &'s str, [&'s str; 1]);

fn score_answers<P: Answers>(
    rows: &[Scored<'_, P>],
    ranking: &RankOptions,
) -> Vec<Result<Vec<Ranked>, Blip2Error>> {
    let rows = rows.iter();
    Seen::rank_each(
        rows.map(|(seen, question, texts)| (*seen, *question, texts.as_slice())),
        ranking,
    )
}

/// Requests, answered together.
fn answered<P: Writer>(requests: &[AnswerRequest<P>]) -> Result<Each<Answer>, Failure> {
    if requests.is_empty() {
        return Ok(Vec::new());
    }
    let answers = each(requests, &|requests: &[AnswerRequest<P>]| {
        let mut batch = AnswerBatch::start(requests.to_vec())?;
        while !batch.is_finished() {
            batch.step()?;
        }
        Ok(batch.into_answers())
    })?;
    let of_answer = |answer| match answer {
        Ok(answer) => of_row(answer),
        Err(error) => Ok(Err(error)),
    };
    answers.into_iter().map(of_answer).collect()
}

/// Runs items together, or where that fails halves of them, down to one: what is wrong with it, the room that it
/// would need among that, is its own result.
fn each<I, T>(
    items: &[I],
    run: &impl Fn(&[I]) -> Result<Vec<T>, Blip2Error>,
) -> Result<Each<T>, Failure> {
    match run(items) {
        Ok(done) => Ok(done.into_iter().map(Ok).collect()),
        Err(error) => {
            let fault = of_row(Err(error))?;
            if items.len() < 2 {
                return Ok(vec![fault]);
            }
            let (first, second) = items.split_at(items.len() / 2);
            let mut results = each(first, run)?;
            results.extend(each(second, run)?);
            Ok(results)
        }
    }
}
