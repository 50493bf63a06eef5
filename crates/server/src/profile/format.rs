//! pprof's message `Profile`, as far as it is needed, and how one is put together. Numbers and types
//! are the format's; a profile is sent compressed.

use std::{collections::HashMap, io::Write as _};

use flate2::{Compression, write::GzEncoder};
use prost::Message;

/// The whole message.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Encoded {
    #[prost(message, repeated, tag = "1")]
    pub(super) sample_type: Vec<ValueType>,
    #[prost(message, repeated, tag = "2")]
    pub(super) sample: Vec<Sample>,
    #[prost(message, repeated, tag = "3")]
    pub(super) mapping: Vec<Mapping>,
    #[prost(message, repeated, tag = "4")]
    pub(super) location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    pub(super) function: Vec<Function>,
    #[prost(string, repeated, tag = "6")]
    pub(super) string_table: Vec<String>,
    #[prost(int64, tag = "9")]
    pub(super) time_nanos: i64,
    #[prost(int64, tag = "10")]
    pub(super) duration_nanos: i64,
    #[prost(message, optional, tag = "11")]
    pub(super) period_type: Option<ValueType>,
    #[prost(int64, tag = "12")]
    pub(super) period: i64,
    #[prost(int64, repeated, tag = "13")]
    pub(super) comment: Vec<i64>,
}

/// What a value counts, and in what.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(super) struct ValueType {
    #[prost(int64, tag = "1")]
    pub(super) kind: i64,
    #[prost(int64, tag = "2")]
    pub(super) unit: i64,
}

/// A stack, innermost first, and its values.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Sample {
    #[prost(uint64, repeated, tag = "1")]
    pub(super) location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    pub(super) value: Vec<i64>,
}

/// A part of the address space that holds code.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(super) struct Mapping {
    #[prost(uint64, tag = "1")]
    pub(super) id: u64,
    #[prost(uint64, tag = "2")]
    pub(super) memory_start: u64,
    #[prost(uint64, tag = "3")]
    pub(super) memory_limit: u64,
    #[prost(uint64, tag = "4")]
    pub(super) file_offset: u64,
    #[prost(int64, tag = "5")]
    pub(super) filename: i64,
    #[prost(bool, tag = "7")]
    pub(super) has_functions: bool,
}

/// An address of code.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Location {
    #[prost(uint64, tag = "1")]
    pub(super) id: u64,
    #[prost(uint64, tag = "2")]
    pub(super) mapping_id: u64,
    #[prost(uint64, tag = "3")]
    pub(super) address: u64,
    #[prost(message, repeated, tag = "4")]
    pub(super) line: Vec<Line>,
}

/// A line of a function; of several, each is inlined in the next.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(super) struct Line {
    #[prost(uint64, tag = "1")]
    pub(super) function_id: u64,
    #[prost(int64, tag = "2")]
    pub(super) line: i64,
}

/// A function.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(super) struct Function {
    #[prost(uint64, tag = "1")]
    pub(super) id: u64,
    #[prost(int64, tag = "2")]
    pub(super) name: i64,
    #[prost(int64, tag = "3")]
    pub(super) system_name: i64,
    #[prost(int64, tag = "4")]
    pub(super) filename: i64,
}

/// A function's name and where its source is; empty what is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Symbol {
    pub(super) name: String,
    pub(super) file: String,
    pub(super) line: u32,
}

/// A profile under construction.
pub(crate) struct Profile {
    pub(super) encoded: Encoded,
    strings: HashMap<String, i64>,
    functions: HashMap<(i64, i64), u64>,
    addresses: HashMap<u64, u64>,
    named: HashMap<String, u64>,
}

impl Profile {
    /// A profile without samples, whose samples have values of these kinds and units. The last of
    /// them is that of its period.
    pub(crate) fn new(types: &[(&str, &str)]) -> Profile {
        let mut profile = Profile {
            encoded: Encoded::default(),
            strings: HashMap::new(),
            functions: HashMap::new(),
            addresses: HashMap::new(),
            named: HashMap::new(),
        };
        // The first text of the table is empty by definition.
        profile.string("");
        for (kind, unit) in types {
            let value = ValueType { kind: profile.string(kind), unit: profile.string(unit) };
            profile.encoded.sample_type.push(value);
        }
        profile.encoded.period_type = profile.encoded.sample_type.last().copied();
        profile.encoded.period = 1;
        profile.encoded.time_nanos = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX));
        profile
    }

    pub(super) fn string(&mut self, text: &str) -> i64 {
        if let Some(known) = self.strings.get(text) {
            return *known;
        }
        let index = self.encoded.string_table.len() as i64;
        self.encoded.string_table.push(text.to_owned());
        self.strings.insert(text.to_owned(), index);
        index
    }

    /// A remark that pprof shows.
    pub(super) fn comment(&mut self, text: &str) {
        let text = self.string(text);
        self.encoded.comment.push(text);
    }

    fn function(&mut self, symbol: &Symbol) -> u64 {
        let (name, filename) = (self.string(&symbol.name), self.string(&symbol.file));
        let functions = &mut self.encoded.function;
        *self.functions.entry((name, filename)).or_insert_with(|| {
            let id = functions.len() as u64 + 1;
            functions.push(Function { id, name, system_name: name, filename });
            id
        })
    }

    /// The location of an address of code; `symbols` names what is there, inlined functions first.
    pub(super) fn address(
        &mut self,
        address: u64,
        symbols: impl FnOnce(u64) -> Vec<Symbol>,
    ) -> u64 {
        if let Some(known) = self.addresses.get(&address) {
            return *known;
        }
        let line = |profile: &mut Profile, symbol: &Symbol| Line {
            function_id: profile.function(symbol),
            line: i64::from(symbol.line),
        };
        let line = symbols(address).iter().map(|symbol| line(self, symbol)).collect();
        let around =
            |mapping: &&Mapping| (mapping.memory_start..mapping.memory_limit).contains(&address);
        let mapping_id = self.encoded.mapping.iter().find(around).map_or(0, |mapping| mapping.id);
        let id = self.encoded.location.len() as u64 + 1;
        self.encoded.location.push(Location { id, mapping_id, address, line });
        self.addresses.insert(address, id);
        id
    }

    /// A sample of something that has a name and no address.
    pub(super) fn add_named(&mut self, name: &str, value: Vec<i64>) {
        let id = match self.named.get(name) {
            Some(known) => *known,
            None => {
                let symbol = Symbol { name: name.to_owned(), ..Symbol::default() };
                let line = vec![Line { function_id: self.function(&symbol), line: 0 }];
                let id = self.encoded.location.len() as u64 + 1;
                let location = Location { id, line, ..Location::default() };
                self.encoded.location.push(location);
                self.named.insert(name.to_owned(), id);
                id
            }
        };
        self.encoded.sample.push(Sample { location_id: vec![id], value });
    }

    /// The message, compressed.
    pub(crate) fn gzipped(&self) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&self.encoded.encode_to_vec()).expect("a vector grows");
        encoder.finish().expect("a vector grows")
    }
}
