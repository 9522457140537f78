//! Into how many parts a JPEG 2000 cuts its samples.

/// How the stream begins: its start, and the marker of its size.
pub(super) const STREAM: &[u8] = b"\xff\x4f\xff\x51";
/// What the decoder keeps of a code-block with its precinct, and of a tile's component at one resolution.
const BYTES_PER_CELL: u64 = 512;

/// The bytes that the records of a stream's parts take in a decoder; `None` if the stream is cut short:
/// decoders fill what is missing with gray and say nothing.
///
/// Samples are grouped by tiles, resolutions, precincts and code-blocks (ISO/IEC 15444-1, annex B). Their
/// sizes stand in the main header and may stand in that of any part of a tile, so that all are looked at.
pub(super) fn bytes(file: &[u8], samples: u64) -> Option<u64> {
    let stream = stream(file)?;
    let mut cut = Cut::default();
    let mut place = 2;
    let mut part_end = None;
    loop {
        let marker = short(stream, place)?;
        let segment = stream.get(place + 2..)?;
        match marker {
            START_OF_PART => {
                part_end = Some(match long(segment, 4)? as usize {
                    // The last may leave its length open, up to the end's mark.
                    0 if stream.ends_with(&END.to_be_bytes()) => stream.len(),
                    length => place + length.max(12),
                });
            }
            START_OF_DATA => {
                // Behind the data of a part the next begins.
                place = part_end.take().filter(|end| *end <= stream.len())?;
                if place == stream.len() {
                    break;
                }
                continue;
            }
            END => break,
            SIZE => {
                cut.tiles = tiles(segment)?;
                cut.components = u64::from(short(segment, 36)?);
            }
            CODING => cut.add(*segment.get(2)?, segment.get(7..)?)?,
            CODING_OF_ONE => {
                let wide = usize::from(cut.components > 256);
                cut.add(*segment.get(3 + wide)?, segment.get(4 + wide..)?)?;
            }
            _ => {}
        }
        place += 2 + usize::from(short(segment, 0)?).max(2);
    }
    Some(cut.bytes(samples))
}

const SIZE: u16 = 0xff51;
const CODING: u16 = 0xff52;
const CODING_OF_ONE: u16 = 0xff53;
const START_OF_PART: u16 = 0xff90;
const START_OF_DATA: u16 = 0xff93;
const END: u16 = 0xffd9;

/// The finest cut that any header asks for.
struct Cut {
    tiles: u64,
    components: u64,
    /// Resolutions of a tile's component.
    resolutions: u64,
    /// The binary logarithm of a code-block's samples.
    block: u32,
}

impl Default for Cut {
    fn default() -> Self {
        Self {
            tiles: 1,
            components: 1,
            resolutions: 1,
            block: u32::MAX,
        }
    }
}

impl Cut {
    /// A style of coding: whether precincts are given; decompositions, a block's sides, two styles, and
    /// the precincts' sides of each resolution.
    fn add(&mut self, style: u8, coding: &[u8]) -> Option<()> {
        let [levels, width, height, _, _] = *coding.first_chunk()?;
        self.resolutions = self.resolutions.max(u64::from(levels.min(32)) + 1);
        let [width, height] = [width, height].map(|side| u32::from(side & 15) + 2);
        self.block = self.block.min(width + height);
        if style & 1 == 1 {
            let precincts = coding.get(5..6 + usize::from(levels.min(32)))?;
            for (resolution, sides) in precincts.iter().enumerate() {
                // Above the lowest resolution a precinct is shared by bands of half its sides.
                let halved = u32::from(resolution > 0);
                let side = |side: u8| u32::from(side).saturating_sub(halved);
                let (across, down) = (side(sides & 15), side(sides >> 4));
                self.block = self.block.min(across.min(width) + down.min(height));
            }
        }
        Some(())
    }

    fn bytes(&self, samples: u64) -> u64 {
        let blocks = samples.checked_shr(self.block).unwrap_or(0);
        // Each band of each tile has its own, however small it is.
        let bands = self
            .tiles
            .saturating_mul(self.components * self.resolutions * 3);
        blocks.saturating_add(bands).saturating_mul(BYTES_PER_CELL)
    }
}

/// How many tiles a picture has, by its and their sizes and places.
fn tiles(segment: &[u8]) -> Option<u64> {
    let along = |axis: usize| {
        let end = u64::from(long(segment, 4 + 4 * axis)?);
        let size = u64::from(long(segment, 20 + 4 * axis)?).max(1);
        let origin = u64::from(long(segment, 28 + 4 * axis)?);
        Some(end.saturating_sub(origin).div_ceil(size))
    };
    Some(along(0)?.saturating_mul(along(1)?))
}

/// The bare stream within a file's boxes: of several the last, as the decoder takes it.
fn stream(file: &[u8]) -> Option<&[u8]> {
    if file.starts_with(STREAM) {
        return Some(file);
    }
    let mut found = None;
    let mut rest = file;
    while let Some(kind) = rest.get(4..8) {
        let (head, length) = match long(rest, 0)? {
            0 => (8, rest.len()),
            1 => (
                16,
                u64::from_be_bytes(*rest.get(8..)?.first_chunk()?) as usize,
            ),
            length => (8, length as usize),
        };
        // A box that says that it is longer than the file ends with it.
        let end = length.clamp(head, rest.len().max(head));
        if kind == b"jp2c" {
            found = rest.get(head..end);
        }
        rest = rest.get(end..).unwrap_or_default();
    }
    found
}

fn short(bytes: &[u8], place: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(place..)?.first_chunk()?))
}

fn long(bytes: &[u8], place: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(place..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream of 64×64 samples in one tile, with a block of 64×64 and such precincts.
    fn picture(precincts: &[u8]) -> Vec<u8> {
        let size = [64, 64, 0, 0, 64, 64, 0, 0].map(u32::to_be_bytes).concat();
        let size = [&[0xff, 0x51, 0, 41, 0, 0][..], &size, &[0, 1, 7, 1, 1]].concat();
        let style = u8::from(!precincts.is_empty());
        let levels = precincts.len().max(1) as u8 - 1;
        let coding = [0xff, 0x52, 0, 12 + precincts.len() as u8, style, 0, 0, 1, 0];
        let coding = [&coding[..], &[levels, 4, 4, 0, 1], precincts].concat();
        let part = [0xff, 0x90, 0, 10, 0, 0, 0, 0, 0, 16, 0, 1, 0xff, 0x93, 9, 9];
        [&[0xff, 0x4f][..], &size, &coding, &part].concat()
    }

    #[test]
    fn small_cells_are_counted() {
        assert_eq!(
            bytes(&picture(&[]), 1 << 12),
            Some((1 + 3) * BYTES_PER_CELL)
        );
        // Precincts of one sample each, at one resolution.
        let fine = (1 << 12) + 6;
        assert_eq!(
            bytes(&picture(&[0, 0x66]), 1 << 12),
            Some(fine * BYTES_PER_CELL)
        );
    }

    #[test]
    fn a_stream_that_is_cut_short_is_none() {
        let whole = picture(&[]);
        for end in 4..whole.len() {
            assert_eq!(bytes(&whole[..end], 1), None, "{end}");
        }
    }

    #[test]
    fn the_last_stream_of_a_file_counts() {
        let boxed = |stream: &[u8]| {
            let length = (8 + stream.len() as u32).to_be_bytes();
            [&length[..], b"jp2c", stream].concat()
        };
        let fine = picture(&[0, 0x66]);
        let file = [
            &b"\0\0\0\x0cjP  \r\n\x87\n"[..],
            &boxed(&picture(&[])),
            &boxed(&fine),
        ]
        .concat();
        assert_eq!(bytes(&file, 1 << 12), bytes(&fine, 1 << 12));
        assert_eq!(bytes(b"\0\0\0\x0cjP  \r\n\x87\n", 1), None);
    }
}
