//! The form of the tables: messages, their fields, methods.

/// A method of a service.
#[derive(Debug)]
pub struct Method {
    /// `/package.Service/Method`.
    pub path: &'static str,
    /// What it takes.
    pub input: &'static Message,
    /// What it gives.
    pub output: &'static Message,
    /// Whether it takes a stream of messages.
    pub client_streams: bool,
    /// Whether it gives a stream of messages.
    pub server_streams: bool,
}

/// A message: its fields in the order of their declaration.
#[derive(Debug)]
pub struct Message {
    /// The fields.
    pub fields: &'static [Field],
}

/// A field of a message.
#[derive(Debug)]
pub struct Field {
    /// Its number on the wire.
    pub number: u32,
    /// Its name in the `.proto` file.
    pub name: &'static str,
    /// The same in camel case.
    pub json_name: &'static str,
    /// Whether it has any number of values.
    pub repeated: bool,
    /// The oneof that it belongs to; its value then shows even if it is the default.
    pub oneof: Option<&'static str>,
    /// What its values are.
    pub kind: Kind,
}

/// What a value is.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// `bool`
    Bool,
    /// `int32`
    Int32,
    /// `int64`
    Int64,
    /// `uint32`
    Uint32,
    /// `uint64`
    Uint64,
    /// `string`
    String,
    /// `bytes`
    Bytes,
    /// One of some names.
    Enum(&'static Enum),
    /// A message.
    Message(&'static Message),
}

/// The names of an enum and their numbers.
#[derive(Debug)]
pub struct Enum {
    /// Each name with its number.
    pub values: &'static [(&'static str, i32)],
}

impl Kind {
    /// The name of the type in the `.proto` language, for errors.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Bool => "bool",
            Kind::Int32 => "int32",
            Kind::Int64 => "int64",
            Kind::Uint32 => "uint32",
            Kind::Uint64 => "uint64",
            Kind::String => "string",
            Kind::Bytes => "bytes",
            Kind::Enum(_) => "enum",
            Kind::Message(_) => "message",
        }
    }

    /// Whether values have a length before them on the wire.
    pub(crate) fn is_delimited(self) -> bool {
        matches!(self, Kind::String | Kind::Bytes | Kind::Message(_))
    }
}

impl Enum {
    /// The number of a name.
    pub(crate) fn number(&self, name: &str) -> Option<i32> {
        self.values.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
    }

    /// The first name of a number.
    pub(crate) fn name(&self, number: i32) -> Option<&'static str> {
        self.values.iter().find(|(_, known)| *known == number).map(|(name, _)| *name)
    }
}

impl Message {
    /// The field that a JSON object calls `name`.
    pub(crate) fn by_name(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.json_name == name || field.name == name)
    }
}
