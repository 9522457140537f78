//! What a notebook shows where a cell ends in a value of ours: evcxr's protocol, by which a value writes itself
//! to standard output between two marks. This is the only place where the library writes there.

use std::{
    fmt::Write as _,
    io::{self, Cursor, Write as _},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use image::{ImageFormat, RgbImage};

use crate::verbs::Answer;

/// A picture that a notebook shows where a cell ends in it: a photograph, a heat map, a contact sheet.
///
/// ```
/// use blip2_core::notebook::Figure;
///
/// let image = blip2_core::open_image("../examples/images/red-triangle.png")?;
/// Figure::new(image).evcxr_display();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figure {
    picture: RgbImage,
}

impl Figure {
    /// A figure of a picture.
    pub fn new(picture: impl Into<RgbImage>) -> Self {
        let picture = picture.into();
        Self { picture }
    }

    /// The picture.
    pub fn picture(&self) -> &RgbImage {
        &self.picture
    }

    /// Shows it in a notebook.
    pub fn evcxr_display(&self) {
        let mut file = Cursor::new(Vec::new());
        if self.picture.write_to(&mut file, ImageFormat::Png).is_ok() {
            show("image/png", &BASE64_STANDARD.encode(file.into_inner()));
        }
    }
}

impl Answer {
    /// Shows it in a notebook: the text, how sure the model was, and each token the darker underlined the surer
    /// it was.
    pub fn evcxr_display(&self) {
        show("text/html", &html(self));
        show("text/plain", &plain(self));
    }
}

#[cfg(feature = "explain")]
impl crate::explain::Explanation {
    /// Shows it in a notebook, without the picture: [`heat_map`](Self::heat_map) and [`strip`](Self::strip) draw
    /// it over that.
    pub fn evcxr_display(&self) {
        let [rows, columns] = self.grid.map(|side| (16 * side) as u32);
        let blank = RgbImage::from_pixel(columns.max(1), rows.max(1), image::Rgb([255; 3]));
        Figure::new(self.strip(&blank)).evcxr_display();
    }
}

fn plain(answer: &Answer) -> String {
    let sure = 100.0 * answer.confidence();
    format!("{answer}  ({sure:.0} % sure)")
}

fn html(answer: &Answer) -> String {
    let mut text = String::from("<p style=\"font-size:1.2em;margin:0\">");
    let mut tokens = String::new();
    for token in answer.tokens.iter().filter(|token| !token.text.is_empty()) {
        let probability = token.log_prob.exp();
        // Writing into a string does not fail.
        let _ = write!(
            tokens,
            "<span title=\"{:.1} %\" style=\"border-bottom:3px solid rgba(0,90,180,{probability:.2})\">{}</span>",
            100.0 * probability,
            escaped(&token.text),
        );
    }
    text.push_str(&tokens);
    let sure = 100.0 * answer.confidence();
    let _ = write!(
        text,
        "</p><p style=\"margin:0\"><small>{sure:.0} % sure</small></p>"
    );
    text
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// Hands the notebook a value in one of its forms.
fn show(media: &str, content: &str) {
    let mut out = io::stdout().lock();
    // A notebook that has gone reads nothing.
    let _ = writeln!(
        out,
        "EVCXR_BEGIN_CONTENT {media}\n{content}\nEVCXR_END_CONTENT"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Blip2Pipeline;

    #[test]
    fn answers_say_how_sure_each_token_is_and_no_markup_of_their_own() {
        let blip2 = Blip2Pipeline::from_pretrained("../blip2-cli/demo").unwrap();
        let image = blip2.open("../examples/images/red-triangle.png").unwrap();
        let mut answer = blip2.answer(&image, "what color is the shape?").unwrap();
        assert_eq!(plain(&answer), "red  (100 % sure)");
        assert!(html(&answer).contains("> red</span>"), "{}", html(&answer));
        answer.tokens[0].text = "<b>&\"".into();
        let html = html(&answer);
        assert!(
            html.contains("&lt;b&gt;&amp;&quot;") && !html.contains("<b>"),
            "{html}"
        );
    }
}
