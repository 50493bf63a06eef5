//! The errors of the v2 API, by etcd's numbers.

use crate::text;

/// The number of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
#[allow(missing_docs)]
pub enum Code {
    KeyNotFound = 100,
    TestFailed = 101,
    NotFile = 102,
    NotDir = 104,
    NodeExist = 105,
    RootReadOnly = 107,
    DirNotEmpty = 108,
    Unauthorized = 110,
    PrevValueRequired = 201,
    TtlNotANumber = 202,
    IndexNotANumber = 203,
    InvalidField = 209,
    InvalidForm = 210,
    RefreshValue = 211,
    RefreshTtlRequired = 212,
    RaftInternal = 300,
    EventIndexCleared = 401,
}

impl Code {
    /// What clients read.
    pub fn message(self) -> &'static str {
        match self {
            Code::KeyNotFound => "Key not found",
            Code::TestFailed => "Compare failed",
            Code::NotFile => "Not a file",
            Code::NotDir => "Not a directory",
            Code::NodeExist => "Key already exists",
            Code::RootReadOnly => "Root is read only",
            Code::DirNotEmpty => "Directory not empty",
            Code::Unauthorized => "The request requires user authentication",
            Code::PrevValueRequired => "PrevValue is Required in POST form",
            Code::TtlNotANumber => "The given TTL in POST form is not a number",
            Code::IndexNotANumber => "The given index in POST form is not a number",
            Code::InvalidField => "Invalid field",
            Code::InvalidForm => "Invalid POST form",
            Code::RefreshValue => "Value provided on refresh",
            Code::RefreshTtlRequired => "A TTL must be provided on refresh",
            Code::RaftInternal => "Raft Internal Error",
            Code::EventIndexCleared => "The event in requested index is outdated and cleared",
        }
    }

    /// The HTTP status that goes with it.
    pub fn status(self) -> u16 {
        match self {
            Code::KeyNotFound => 404,
            Code::NotFile | Code::DirNotEmpty => 403,
            Code::Unauthorized => 401,
            Code::TestFailed | Code::NodeExist => 412,
            Code::RaftInternal => 500,
            _ => 400,
        }
    }
}

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} ({cause})", .code.message())]
pub struct Error {
    /// Its number.
    pub code: Code,
    /// What it is about: often a path.
    pub cause: String,
    /// The index of the store then.
    pub index: u64,
}

impl Error {
    /// An error at an index of the store; 0 for one of a request.
    pub fn new(code: Code, cause: impl Into<String>, index: u64) -> Error {
        Error { code, cause: cause.into(), index }
    }

    /// The body of the answer, without a line end. A prefix of the cause is taken away.
    pub fn to_json(&self, prefix: &str) -> String {
        let mut json = String::from("{\"errorCode\":");
        json.push_str(&(self.code as u16).to_string());
        json.push_str(",\"message\":");
        text::push_string(&mut json, self.code.message());
        let cause = self.cause.strip_prefix(prefix).unwrap_or(&self.cause);
        if !cause.is_empty() {
            json.push_str(",\"cause\":");
            text::push_string(&mut json, cause);
        }
        json.push_str(&format!(",\"index\":{}}}", self.index));
        json
    }
}
