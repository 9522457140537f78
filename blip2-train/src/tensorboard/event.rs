//! TensorFlow's message `Event`, in the encoding of protocol buffers: of each field its number and wire
//! type, and its value.

/// A message.
pub(super) struct Event<'e> {
    /// When, in seconds since 1970.
    pub seconds: f64,
    /// After which step.
    pub step: usize,
    /// What happened.
    pub what: What<'e>,
}

/// What an event tells.
pub(super) enum What<'e> {
    /// The version of the format.
    Version(&'e str),
    /// From this step on earlier files do not count.
    Start,
    /// Numbers by their names.
    Scalars(&'e [(String, f64)]),
}

/// How a field's value is written.
#[derive(Clone, Copy)]
enum Wire {
    Varint = 0,
    Bits64 = 1,
    Bytes = 2,
    Bits32 = 5,
}

impl Event<'_> {
    /// The message's bytes.
    pub(super) fn encoded(&self) -> Vec<u8> {
        let mut message = Message::default();
        message.bits64(1, self.seconds.to_bits());
        // As every number, 0 is what a message without it has.
        if self.step > 0 {
            message.varint(2, self.step as u64);
        }
        match &self.what {
            What::Version(version) => message.bytes(3, version.as_bytes()),
            What::Scalars(scalars) => message.bytes(5, &summary(scalars)),
            // `SessionLog`, whose status is `START`.
            What::Start => {
                let mut log = Message::default();
                log.varint(1, 1);
                message.bytes(7, &log.0);
            }
        }
        message.0
    }
}

/// The message `Summary`.
fn summary(scalars: &[(String, f64)]) -> Vec<u8> {
    let mut summary = Message::default();
    for (name, value) in scalars {
        let mut scalar = Message::default();
        scalar.bytes(1, name.as_bytes());
        scalar.bits32(2, (*value as f32).to_bits());
        summary.bytes(1, &scalar.0);
    }
    summary.0
}

#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn tag(&mut self, field: u64, wire: Wire) {
        self.number(field << 3 | wire as u64);
    }

    /// Seven bits a byte, the lowest first; the eighth says that more follow.
    fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn varint(&mut self, field: u64, value: u64) {
        self.tag(field, Wire::Varint);
        self.number(value);
    }

    fn bits64(&mut self, field: u64, value: u64) {
        self.tag(field, Wire::Bits64);
        self.0.extend(value.to_le_bytes());
    }

    fn bits32(&mut self, field: u64, value: u32) {
        self.tag(field, Wire::Bits32);
        self.0.extend(value.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, value: &[u8]) {
        self.tag(field, Wire::Bytes);
        self.number(value.len() as u64);
        self.0.extend(value);
    }
}
