//! SentencePiece's model files, which are protocol buffers: the few fields that a tokenizer is made of.
//!
//! `sentencepiece_model.proto` has the numbers of the fields. Nothing is allocated by what a length
//! says: each is a part of the bytes that are there, or the file is refused.

/// What a SentencePiece model holds, as far as it is used.
#[derive(Debug)]
pub(super) struct SentencePiece<'b> {
    pub(super) pieces: Vec<Piece>,
    pub(super) algorithm: Algorithm,
    /// The table of normalisation; empty if text is taken as it is.
    pub(super) charsmap: &'b [u8],
}

/// One token.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) text: String,
    pub(super) score: f32,
    pub(super) kind: PieceKind,
}

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PieceKind {
    /// `<s>`, `</s>`, `<pad>`: never found in text.
    Control,
    /// Added by who trained the model, and never split.
    UserDefined,
    /// Any other.
    Ordinary,
}

/// How text is cut into pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Unigram,
    BytePairs,
}

impl<'b> SentencePiece<'b> {
    /// Reads a `ModelProto`.
    pub(super) fn parse(bytes: &'b [u8]) -> Result<Self, String> {
        let mut model = Self {
            pieces: Vec::new(),
            algorithm: Algorithm::Unigram,
            charsmap: &[],
        };
        for field in Fields(bytes) {
            match field? {
                (1, Value::Bytes(piece)) => model.pieces.push(Piece::parse(piece)?),
                (2, Value::Bytes(trainer)) => model.algorithm = algorithm(trainer)?,
                (3, Value::Bytes(normalizer)) => model.charsmap = charsmap(normalizer)?,
                _ => {}
            }
        }
        match model.pieces.is_empty() {
            true => Err("it holds no pieces".into()),
            false => Ok(model),
        }
    }
}

impl Piece {
    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let (mut text, mut score, mut kind) = (None, 0.0, PieceKind::Ordinary);
        for field in Fields(bytes) {
            match field? {
                (1, Value::Bytes(piece)) => {
                    let piece = str::from_utf8(piece).map_err(|_| "a piece is no UTF-8")?;
                    text = Some(piece.to_string());
                }
                (2, Value::Fixed32(bits)) => score = f32::from_bits(bits),
                (3, Value::Number(3)) => kind = PieceKind::Control,
                (3, Value::Number(4)) => kind = PieceKind::UserDefined,
                _ => {}
            }
        }
        if !score.is_finite() {
            return Err("a piece's score is no number".into());
        }
        let text = text.ok_or("a piece has no text")?;
        Ok(Self { text, score, kind })
    }
}

/// `model_type` of the `TrainerSpec`.
fn algorithm(trainer: &[u8]) -> Result<Algorithm, String> {
    let mut found = Algorithm::Unigram;
    for field in Fields(trainer) {
        if let (3, Value::Number(number)) = field? {
            found = match number {
                1 => Algorithm::Unigram,
                2 => Algorithm::BytePairs,
                _ => return Err("it cuts words or characters; read are unigram and BPE".into()),
            };
        }
    }
    Ok(found)
}

/// `precompiled_charsmap` of the `NormalizerSpec`.
fn charsmap(normalizer: &[u8]) -> Result<&[u8], String> {
    let mut found: &[u8] = &[];
    for field in Fields(normalizer) {
        if let (2, Value::Bytes(bytes)) = field? {
            found = bytes;
        }
    }
    Ok(found)
}

/// The fields of a message, with their numbers.
struct Fields<'b>(&'b [u8]);

/// A field's value by its wire type.
enum Value<'b> {
    Number(u64),
    Fixed32(u32),
    Bytes(&'b [u8]),
    /// Eight bytes, which no field that is read has.
    Fixed64,
}

impl<'b> Iterator for Fields<'b> {
    type Item = Result<(u64, Value<'b>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            // After a fault there is no next field to find.
            self.0 = &[];
        }
        Some(field.ok_or_else(|| "it is cut short, or no SentencePiece model".into()))
    }
}

impl<'b> Fields<'b> {
    fn field(&mut self) -> Option<(u64, Value<'b>)> {
        let key = self.number()?;
        let value = match key & 7 {
            0 => Value::Number(self.number()?),
            1 => {
                self.take(8)?;
                Value::Fixed64
            }
            2 => {
                let length = usize::try_from(self.number()?).ok()?;
                Value::Bytes(self.take(length)?)
            }
            5 => Value::Fixed32(u32::from_le_bytes(self.take(4)?.try_into().ok()?)),
            _ => return None,
        };
        Some((key >> 3, value))
    }

    /// A number of seven bits a byte, the lowest first; the top bit says that more follow.
    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = self.take(1)? else { return None };
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn take(&mut self, length: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message's field of bytes.
    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let length = u8::try_from(bytes.len()).unwrap();
        [&[number << 3 | 2, length], bytes].concat()
    }

    fn piece(text: &str, score: f32, kind: u8) -> Vec<u8> {
        let rest = [&[0x15][..], &score.to_le_bytes(), &[0x18, kind]].concat();
        field(1, &[field(1, text.as_bytes()), rest].concat())
    }

    #[test]
    fn the_fields_of_a_model_are_read() {
        let trainer = field(2, &[0x18, 2]);
        let normalizer = field(3, &field(2, b"map"));
        let bytes = [
            piece("</s>", 0.0, 3),
            piece("▁a", -1.5, 1),
            trainer,
            normalizer,
        ]
        .concat();
        let model = SentencePiece::parse(&bytes).unwrap();
        assert_eq!(model.algorithm, Algorithm::BytePairs);
        assert_eq!(model.charsmap, b"map");
        assert_eq!(model.pieces[0].kind, PieceKind::Control);
        assert_eq!(
            (model.pieces[1].text.as_str(), model.pieces[1].score),
            ("▁a", -1.5)
        );
    }

    #[test]
    fn a_file_that_is_cut_anywhere_is_refused_or_shorter_and_never_panics() {
        let bytes = [piece("</s>", 0.0, 3), piece("▁a", -1.5, 1)].concat();
        let boundary = piece("</s>", 0.0, 3).len();
        for end in 0..bytes.len() {
            let cut = SentencePiece::parse(&bytes[..end]);
            assert_eq!(cut.is_ok(), end == boundary, "{end}");
        }
    }

    #[test]
    fn lengths_beyond_the_file_and_endless_numbers_are_refused() {
        assert!(SentencePiece::parse(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]).is_err());
        assert!(SentencePiece::parse(&[0xff; 32]).is_err());
        assert!(SentencePiece::parse(b"not a model").is_err());
        assert!(SentencePiece::parse(&piece("x", f32::NAN, 1)).is_err());
    }
}
