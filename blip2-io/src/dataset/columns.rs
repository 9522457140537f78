//! What holds what in a record.

use serde::{Deserialize, Serialize};

/// The names of a record's keys, or of a table's columns, where they are not the usual ones.
///
/// | | usual names, the first that there is |
/// |---|---|
/// | `image` | `image`, `file_name`, `image_path`, `filename`, `video`, `video_path`, `images` (a list of one) |
/// | `question` | `question` |
/// | `answer` | `answers`, `answer`, `direct_answers` |
/// | `caption` | `caption`, `captions`, `text`, `txt`, `cls` |
/// | `choices` | `choices` |
/// | `conversations` | `conversations`, `conversation`, `messages`, `texts`: turns, as LLaVA and chat models have them |
/// | `id` | `question_id`, `id`, `pid`, `instance_id`, `image_id` |
///
/// ```
/// use blip2_io::dataset::Columns;
///
/// let columns: Columns = serde_json::from_str(r#"{ "question": "q", "answer": "a" }"#)?;
/// assert_eq!(columns.question.as_deref(), Some("q"));
/// assert_eq!(columns, Columns::default().with_question(Some("q".into())).with_answer(Some("a".into())));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Columns {
    /// The picture: a file below the pictures' folder.
    pub image: Option<String>,
    /// The question.
    pub question: Option<String>,
    /// The answer, or a list of answers.
    #[serde(alias = "answers")]
    pub answer: Option<String>,
    /// The caption, or a list of captions.
    #[serde(alias = "captions", alias = "text")]
    pub caption: Option<String>,
    /// The choices among which the answer is.
    pub choices: Option<String>,
    /// Turns of questions and answers, each of which is an example.
    pub conversations: Option<String>,
    /// What the record is called in answers that are written.
    pub id: Option<String>,
}

setters! { Columns {
    with_image(image: Option<String>),
    with_question(question: Option<String>),
    with_answer(answer: Option<String>),
    with_caption(caption: Option<String>),
    with_choices(choices: Option<String>),
    with_conversations(conversations: Option<String>),
    with_id(id: Option<String>),
} }
