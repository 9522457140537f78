//! A look at Thrift's compact encoding before a library reads it: what stands there is skipped, and
//! every length is held against the bytes that there are.
//!
//! The library beneath reserves room for as many members and bytes as a file claims. A file of some
//! hundred bytes could then end the program, for a claim that memory cannot hold is no error that is
//! returned.

/// How deep values may stand in one another; Parquet's own go to 6.
const DEEPEST: usize = 32;

/// What is seen of a struct.
pub(super) enum Seen {
    /// A number.
    Number(i64),
    /// The end of a struct.
    End,
}

/// Why bytes cannot be skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// They end before what they hold.
    Short,
    /// They are no Thrift, or nested without end.
    Malformed,
}

/// Skips a struct, and hands out its numbers by the numbers of the fields that they stand in, the
/// outermost first. The result is how many bytes it has.
pub(super) fn skip_struct(
    bytes: &[u8],
    mut seen: impl FnMut(&[i16], Seen),
) -> Result<usize, Fault> {
    let mut walk = Walk {
        bytes,
        at: 0,
        path: Vec::new(),
        seen: &mut seen,
    };
    walk.record()?;
    Ok(walk.at)
}

struct Walk<'b> {
    bytes: &'b [u8],
    at: usize,
    path: Vec<i16>,
    seen: &'b mut dyn FnMut(&[i16], Seen),
}

impl Walk<'_> {
    /// A struct: fields by a header each, which has the distance to the last field's number and the
    /// value's type, up to a zero.
    fn record(&mut self) -> Result<(), Fault> {
        if self.path.len() >= DEEPEST {
            return Err(Fault::Malformed);
        }
        let mut number = 0i16;
        loop {
            let header = self.byte()?;
            if header == 0 {
                (self.seen)(&self.path, Seen::End);
                return Ok(());
            }
            number = match header >> 4 {
                0 => i16::try_from(self.signed()?).map_err(|_| Fault::Malformed)?,
                distance => number
                    .checked_add(i16::from(distance))
                    .ok_or(Fault::Malformed)?,
            };
            self.path.push(number);
            match header & 0x0f {
                // A boolean of a field is its type.
                1 | 2 => {}
                kind => self.value(kind)?,
            }
            self.path.pop();
        }
    }

    fn value(&mut self, kind: u8) -> Result<(), Fault> {
        match kind {
            1..=3 => self.bytes(1),
            4..=6 => {
                let number = self.signed()?;
                (self.seen)(&self.path, Seen::Number(number));
                Ok(())
            }
            7 => self.bytes(8),
            8 => {
                let length = self.length()?;
                self.bytes(length)
            }
            9 | 10 => self.list(),
            12 => self.record(),
            // Parquet has no maps.
            _ => Err(Fault::Malformed),
        }
    }

    fn list(&mut self) -> Result<(), Fault> {
        let header = self.byte()?;
        let count = match header >> 4 {
            15 => self.length()?,
            few => usize::from(few),
        };
        // Each member has a byte at least.
        if count > self.bytes.len() - self.at {
            return Err(Fault::Short);
        }
        (0..count).try_for_each(|_| self.value(header & 0x0f))
    }

    fn signed(&mut self) -> Result<i64, Fault> {
        let folded = self.unsigned()?;
        // Small numbers of either sign are small: 0, −1, 1, −2, …
        Ok((folded >> 1) as i64 ^ -((folded & 1) as i64))
    }

    fn length(&mut self) -> Result<usize, Fault> {
        usize::try_from(self.unsigned()?).map_err(|_| Fault::Malformed)
    }

    /// A number of 7 bits a byte, the lowest first.
    fn unsigned(&mut self) -> Result<u64, Fault> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Fault::Malformed)
    }

    fn byte(&mut self) -> Result<u8, Fault> {
        let byte = *self.bytes.get(self.at).ok_or(Fault::Short)?;
        self.at += 1;
        Ok(byte)
    }

    fn bytes(&mut self, count: usize) -> Result<(), Fault> {
        let end = self.at.checked_add(count).ok_or(Fault::Malformed)?;
        if end > self.bytes.len() {
            return Err(Fault::Short);
        }
        self.at = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(bytes: &[u8]) -> Result<Vec<(Vec<i16>, i64)>, Fault> {
        let mut found = Vec::new();
        skip_struct(bytes, |path, seen| {
            if let Seen::Number(number) = seen {
                found.push((path.to_vec(), number));
            }
        })?;
        Ok(found)
    }

    #[test]
    fn numbers_are_found_by_the_fields_that_they_stand_in() {
        // 1: i32 −2, 3: list of one struct { 1: i64 150 }, 4: true, 5: binary "ab".
        let bytes = [
            0x15, 0x03, 0x29, 0x1c, 0x16, 0xac, 0x02, 0, 0x11, 0x18, 2, b'a', b'b', 0,
        ];
        let found = numbers(&bytes).unwrap();
        assert_eq!(found, [(vec![1], -2), (vec![3, 1], 150)]);
        for end in 0..bytes.len() {
            assert_eq!(numbers(&bytes[..end]), Err(Fault::Short), "{end}");
        }
    }

    #[test]
    fn claims_beyond_the_bytes_and_endless_nesting_are_refused() {
        let many = [0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x07, 0];
        assert_eq!(numbers(&many), Err(Fault::Short));
        let long = [0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x07, 0];
        assert_eq!(numbers(&long), Err(Fault::Short));
        assert_eq!(numbers(&[0x1c; 1000]), Err(Fault::Malformed));
    }
}
