//! The protobuf wire format: numbered fields without their names. Every length is checked before
//! it is used.

/// The value of one field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Wire<'a> {
    /// An integer or truth value.
    Varint(u64),
    /// Eight bytes.
    Fixed64(u64),
    /// Four bytes.
    Fixed32(u32),
    /// Text, bytes, a message, or packed numbers.
    Bytes(&'a [u8]),
}

/// Bytes that are no fields; how many of them were left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed {
    /// From the field that could not be read on.
    pub(super) left: usize,
}

/// Fields one after the other. Ends after the first malformed one.
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

/// The fields of a message.
pub(super) fn fields(message: &[u8]) -> Fields<'_> {
    Fields { rest: message }
}

/// Whether the bytes are fields from the first to the last; a message of no fields is none.
pub(super) fn is_message(bytes: &[u8]) -> bool {
    !bytes.is_empty() && fields(bytes).all(|field| field.is_ok())
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Wire<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let left = self.rest.len();
        let mut reader = Reader { rest: std::mem::take(&mut self.rest) };
        let Some(field) = reader.field() else { return Some(Err(Malformed { left })) };
        self.rest = reader.rest;
        Some(Ok(field))
    }
}

/// Integers one after the other, of a packed list.
pub(super) fn packed(bytes: &[u8]) -> Option<Vec<u64>> {
    let mut reader = Reader { rest: bytes };
    let mut numbers = Vec::new();
    while !reader.rest.is_empty() {
        numbers.push(reader.varint()?);
    }
    Some(numbers)
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn field(&mut self) -> Option<(u32, Wire<'a>)> {
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).ok().filter(|number| (1..1 << 29).contains(number))?;
        let wire = match tag & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Fixed64(u64::from_le_bytes(self.take(8)?.try_into().ok()?)),
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Wire::Bytes(self.take(length)?)
            }
            5 => Wire::Fixed32(u32::from_le_bytes(self.take(4)?.try_into().ok()?)),
            _ => return None,
        };
        Some((number, wire))
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit.
            if shift == 63 && bits > 1 {
                return None;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }
}
