//! The forms in which questions are answered.

/// Gives a member that answers questions its verbs: `answer` and its streams, typed answers and
/// ranking.
macro_rules! answering {
    ($member:ident, $folder:literal) => {
        impl $member {
            /// Answers a question about a picture, or about a video if that is what the model looks
            /// at.
            ///
            /// The question is put into the model's template, if it has one; the answer is the text
            /// that the model adds.
            ///
            /// ```
            #[doc = concat!("# let blip = blip2_core::", stringify!($member), "::from_pretrained(\"", $folder, "\")?;")]
            /// # let image = blip.open("../examples/images/red-triangle.png")?;
            /// let answer = blip.answer(&image, "what color is the shape?")?;
            /// println!("{answer}, {:.0} % sure", 100.0 * answer.confidence());
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            ///
            /// # Errors
            ///
            /// [`EmptyQuestion`](crate::Blip2Error::EmptyQuestion), for a question that spells out a
            /// special token or is too long, and whatever goes wrong with the picture or the
            /// generation.
            pub fn answer<'a>(
                &self,
                image: impl Into<crate::picture::Picture<'a>>,
                question: &str,
            ) -> Result<crate::verbs::Answer, crate::error::Blip2Error> {
                self.answer_with(image, question, &crate::verbs::Options::default())
            }

            /// [`answer`](Self::answer) with options.
            ///
            /// ```
            #[doc = concat!("# let blip = blip2_core::", stringify!($member), "::from_pretrained(\"", $folder, "\")?;")]
            /// # let image = blip.open("../examples/images/red-triangle.png")?;
            /// use blip2_core::{GenerationConfig, Options};
            ///
            /// let beams = GenerationConfig::default().with_num_beams(3).with_max_new_tokens(5);
            /// let options = Options::default().with_generation(beams);
            /// let answer = blip.answer_with(&image, "what color is the shape?", &options)?;
            /// assert!(answer.tokens.len() <= 5);
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            ///
            /// # Errors
            ///
            /// As [`answer`](Self::answer), and for options that make no sense.
            pub fn answer_with<'a>(
                &self,
                image: impl Into<crate::picture::Picture<'a>>,
                question: &str,
                options: &crate::verbs::Options,
            ) -> Result<crate::verbs::Answer, crate::error::Blip2Error> {
                crate::verbs::alone(self.answer_batch([(image, question)], options))
            }

            /// Answers many questions about pictures together. Each answer is what the pair alone
            /// gets.
            ///
            /// ```
            #[doc = concat!("# let blip = blip2_core::", stringify!($member), "::from_pretrained(\"", $folder, "\")?;")]
            /// # let image = blip.open("../examples/images/red-triangle.png")?;
            /// use blip2_core::Options;
            ///
            /// let other = blip.open("../examples/images/blue-circle.png")?;
            /// let pairs = [(&image, "what shape is this?"), (&other, "what color is it?")];
            /// for answer in blip.answer_batch(pairs, &Options::default())? {
            ///     println!("{answer}");
            /// }
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            ///
            /// # Errors
            ///
            /// As [`answer_with`](Self::answer_with); the first fault fails the batch, and
            /// [`Item`](crate::Blip2Error::Item) says whose it is.
            pub fn answer_batch<'a, P: Into<crate::picture::Picture<'a>>, Q: AsRef<str>>(
                &self,
                pairs: impl IntoIterator<Item = (P, Q)>,
                options: &crate::verbs::Options,
            ) -> Result<Vec<crate::verbs::Answer>, crate::error::Blip2Error> {
                crate::verbs::ask::answer_batch(self, pairs, options)
            }

            /// [`answer_batch`](Self::answer_batch) with a result for each pair: what is at fault is
            /// left out of the batch, and the others are answered.
            ///
            /// ```
            #[doc = concat!("# let blip = blip2_core::", stringify!($member), "::from_pretrained(\"", $folder, "\")?;")]
            /// # let image = blip.open("../examples/images/red-triangle.png")?;
            /// use blip2_core::Options;
            ///
            /// let pairs = [(&image, "what shape is this?"), (&image, "")];
            /// let answers = blip.answer_each(pairs, &Options::default());
            /// assert!(answers[0].is_ok() && answers[1].is_err());
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            pub fn answer_each<'a, P: Into<crate::picture::Picture<'a>>, Q: AsRef<str>>(
                &self,
                pairs: impl IntoIterator<Item = (P, Q)>,
                options: &crate::verbs::Options,
            ) -> Vec<Result<crate::verbs::Answer, crate::error::Blip2Error>> {
                crate::verbs::ask::answer_each(self, pairs, options)
            }

            /// Answers a question about a picture piece by piece, as the text grows.
            ///
            /// ```
            #[doc = concat!("# let blip = blip2_core::", stringify!($member), "::from_pretrained(\"", $folder, "\")?;")]
            /// # let image = blip.open("../examples/images/red-triangle.png")?;
            /// for piece in blip.stream_answer(&image, "what color is the shape?")? {
            ///     print!("{}", piece?);
            /// }
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            ///
            /// # Errors
            ///
            /// As [`answer`](Self::answer); errors of later steps come out of the stream.
            pub fn stream_answer<'a>(
                &self,
                image: impl Into<crate::picture::Picture<'a>>,
                question: &str,
            ) -> Result<crate::verbs::AnswerStream, crate::error::Blip2Error> {
                self.stream_answer_with(image, question, &crate::verbs::Options::default())
            }

            /// [`stream_answer`](Self::stream_answer) with options; more than one beam cannot be
            /// streamed.
            ///
            /// # Errors
            ///
            /// As [`stream_answer`](Self::stream_answer), and for options that make no sense.
            pub fn stream_answer_with<'a>(
                &self,
                image: impl Into<crate::picture::Picture<'a>>,
                question: &str,
                options: &crate::verbs::Options,
            ) -> Result<crate::verbs::AnswerStream, crate::error::Blip2Error> {
                crate::verbs::ask::stream_answer(self, image.into(), question, options)
            }

            /// Answers a question about a picture with a value of a type.
            ///
            /// ```
            #[doc = concat!("# let blip = blip2_core::", stringify!($member), "::from_pretrained(\"", $folder, "\")?;")]
            /// # let image = blip.open("../examples/images/red-triangle.png")?;
            /// if blip.answer_as::<bool>(&image, "is there a triangle in the image?")?.value {
            ///     let triangles = blip.answer_as::<u32>(&image, "how many triangles?")?.value;
            ///     println!("{triangles} of them");
            /// }
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            ///
            /// # Errors
            ///
            /// As [`answer_as_batch`](Self::answer_as_batch).
            pub fn answer_as<'a, T: crate::verbs::TypedAnswer>(
                &self,
                image: impl Into<crate::picture::Picture<'a>>,
                question: &str,
            ) -> Result<crate::verbs::Typed<T>, crate::error::Blip2Error> {
                self.answer_as_with(image, question, &crate::verbs::Options::default())
            }

            /// [`answer_as`](Self::answer_as) with options, as
            /// [`answer_as_batch`](Self::answer_as_batch) uses them.
            ///
            /// # Errors
            ///
            /// As [`answer_as_batch`](Self::answer_as_batch).
            pub fn answer_as_with<'a, T: crate::verbs::TypedAnswer>(
                &self,
                image: impl Into<crate::picture::Picture<'a>>,
                question: &str,
                options: &crate::verbs::Options,
            ) -> Result<crate::verbs::Typed<T>, crate::error::Blip2Error> {
                crate::verbs::alone(self.answer_as_batch([(image, question)], options))
            }

            /// Answers many questions about pictures with values of a type. The type's grammar takes
            /// the place of a constraint in the options and decides how long an answer may be.
            ///
            /// # Errors
            ///
            /// As [`answer_batch`](Self::answer_batch);
            /// [`Unfinished`](crate::Blip2Error::Unfinished) if an answer was stopped before it had a
            /// value, and [`Unparsed`](crate::Blip2Error::Unparsed) if the type made nothing of it.
            pub fn answer_as_batch<'a, T, P, Q>(
                &self,
                pairs: impl IntoIterator<Item = (P, Q)>,
                options: &crate::verbs::Options,
            ) -> Result<Vec<crate::verbs::Typed<T>>, crate::error::Blip2Error>
            where
                T: crate::verbs::TypedAnswer,
                P: Into<crate::picture::Picture<'a>>,
                Q: AsRef<str>,
            {
                crate::verbs::typed::answer_as_batch(self, pairs, options)
            }

            /// Ranks candidate answers to a question about a picture, the likeliest first; equal
            /// ones stay in the order in which they were given.
            ///
            /// The picture and the question run once for all candidates, and so do beginnings that
            /// candidates share. Each score is what the candidate alone would get.
            ///
            /// ```
            #[doc = concat!("# let blip = blip2_core::", stringify!($member), "::from_pretrained(\"", $folder, "\")?;")]
            /// # let image = blip.open("../examples/images/red-triangle.png")?;
            /// let ranked = blip.rank(&image, "what color is the shape?", &["red", "blue", "teal"])?;
            /// for answer in &ranked {
            ///     println!("{answer}: {:.0} %", 100.0 * answer.share);
            /// }
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            ///
            /// # Errors
            ///
            /// [`Candidates`](crate::Blip2Error::Candidates) if there are none, or one is empty or
            /// spells out a special token; and as [`answer`](Self::answer).
            pub fn rank<'a>(
                &self,
                image: impl Into<crate::picture::Picture<'a>>,
                question: &str,
                candidates: &[impl AsRef<str>],
            ) -> Result<Vec<crate::verbs::Ranked>, crate::error::Blip2Error> {
                self.rank_with(image, question, candidates, &crate::verbs::RankOptions::default())
            }

            /// [`rank`](Self::rank) with options.
            ///
            /// # Errors
            ///
            /// As [`rank`](Self::rank).
            pub fn rank_with<'a>(
                &self,
                image: impl Into<crate::picture::Picture<'a>>,
                question: &str,
                candidates: &[impl AsRef<str>],
                options: &crate::verbs::RankOptions,
            ) -> Result<Vec<crate::verbs::Ranked>, crate::error::Blip2Error> {
                crate::verbs::alone(self.rank_batch([(image, question)], candidates, options))
            }

            /// Ranks the same candidates as answers to many questions about pictures.
            ///
            /// # Errors
            ///
            /// As [`rank`](Self::rank); the first fault fails the batch, and
            /// [`Item`](crate::Blip2Error::Item) says whose it is.
            pub fn rank_batch<'a, P: Into<crate::picture::Picture<'a>>, Q: AsRef<str>>(
                &self,
                pairs: impl IntoIterator<Item = (P, Q)>,
                candidates: &[impl AsRef<str>],
                options: &crate::verbs::RankOptions,
            ) -> Result<Vec<Vec<crate::verbs::Ranked>>, crate::error::Blip2Error> {
                crate::verbs::rank::rank_batch(self, pairs, candidates, options)
            }

            /// The likeliest of the candidates as an answer to a question about a picture.
            ///
            /// ```
            #[doc = concat!("# let blip = blip2_core::", stringify!($member), "::from_pretrained(\"", $folder, "\")?;")]
            /// # let image = blip.open("../examples/images/red-triangle.png")?;
            /// let color = blip.answer_one_of(&image, "what color is the shape?", &["red", "blue"])?;
            /// println!("{color}");
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            ///
            /// # Errors
            ///
            /// As [`rank`](Self::rank).
            pub fn answer_one_of<'a>(
                &self,
                image: impl Into<crate::picture::Picture<'a>>,
                question: &str,
                candidates: &[impl AsRef<str>],
            ) -> Result<crate::verbs::Ranked, crate::error::Blip2Error> {
                crate::verbs::alone(self.rank(image, question, candidates))
            }

            /// [`answer_one_of`](Self::answer_one_of) with options.
            ///
            /// # Errors
            ///
            /// As [`rank`](Self::rank).
            pub fn answer_one_of_with<'a>(
                &self,
                image: impl Into<crate::picture::Picture<'a>>,
                question: &str,
                candidates: &[impl AsRef<str>],
                options: &crate::verbs::RankOptions,
            ) -> Result<crate::verbs::Ranked, crate::error::Blip2Error> {
                crate::verbs::alone(self.rank_with(image, question, candidates, options))
            }
        }
    };
}
pub(crate) use answering;
