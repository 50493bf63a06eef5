//! A recorded history: operations with the moments they were sent and answered, watches, leases.
//!
//! Every request is a transaction here; a put is one without comparisons and with one step. What
//! was refused for certain (nothing was proposed) is not part of a history. What has no answer is:
//! it may take effect at any time after it was sent, or never.

use std::fmt;

use bytes::Bytes;

/// All that was recorded of one run.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// What clients asked for, in any order.
    pub operations: Vec<Operation>,
    /// What watchers were sent.
    pub watches: Vec<crate::watch::Record>,
    /// What became of leases.
    pub leases: Vec<crate::lease::Record>,
}

/// One version of one key, as in `mvccpb.KeyValue`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Kv {
    /// The key.
    pub key: Bytes,
    /// The value.
    pub value: Bytes,
    /// Revision of the put that began this generation.
    pub create_revision: i64,
    /// Revision of this version.
    pub mod_revision: i64,
    /// Count of puts in this generation.
    pub version: i64,
    /// The lease it is attached to, or 0.
    pub lease: i64,
}

/// A change of one key at a revision.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Event {
    /// What was put; of a deletion only `key` and `mod_revision` are set.
    pub kv: Kv,
    /// Whether the key was deleted.
    pub deleted: bool,
}

impl Event {
    /// A deletion.
    pub fn delete(key: Bytes, revision: i64) -> Event {
        Event { kv: Kv { key, mod_revision: revision, ..Kv::default() }, deleted: true }
    }

    /// A put.
    pub fn put(kv: Kv) -> Event {
        Event { kv, deleted: false }
    }

    /// Its revision.
    pub fn revision(&self) -> i64 {
        self.kv.mod_revision
    }
}

/// One step of a transaction. An empty `end` means the one key, `"\0"` all from `key` on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Reads keys in `[key, end)`.
    Range {
        /// First key.
        key: Bytes,
        /// First key behind the range.
        end: Bytes,
    },
    /// Writes one key.
    Put {
        /// The key.
        key: Bytes,
        /// The value.
        value: Bytes,
        /// The lease to attach to, or 0.
        lease: i64,
    },
    /// Deletes keys in `[key, end)`.
    Delete {
        /// First key.
        key: Bytes,
        /// First key behind the range.
        end: Bytes,
    },
}

/// What a comparison looks at and compares with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Count of puts of the generation; 0 for an absent key.
    Version(i64),
    /// Revision of the creation; 0 for an absent key.
    Create(i64),
    /// Revision of the last change; 0 for an absent key.
    Mod(i64),
    /// The value; nothing compares true with that of an absent key.
    Value(Bytes),
    /// The lease; 0 for an absent key.
    Lease(i64),
}

/// How a comparison compares: what is stored, relation, what was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// Equal.
    Equal,
    /// Greater than.
    Greater,
    /// Less than.
    Less,
    /// Not equal.
    NotEqual,
}

impl Relation {
    /// Whether the relation holds for two things in this order.
    pub fn holds(self, order: std::cmp::Ordering) -> bool {
        match self {
            Relation::Equal => order.is_eq(),
            Relation::Greater => order.is_gt(),
            Relation::Less => order.is_lt(),
            Relation::NotEqual => order.is_ne(),
        }
    }
}

/// One comparison of a transaction, of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compare {
    /// The key.
    pub key: Bytes,
    /// What is compared.
    pub target: Target,
    /// How.
    pub relation: Relation,
}

/// What a read promises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consistency {
    /// As new as anything acknowledged before.
    #[default]
    Linearizable,
    /// The state of some moment, perhaps an old one.
    Serializable,
    /// The state at a revision.
    At(i64),
}

/// A request: comparisons and the steps for either outcome.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// All must hold for `success`.
    pub compares: Vec<Compare>,
    /// Steps when they hold.
    pub success: Vec<Step>,
    /// Steps when they do not.
    pub failure: Vec<Step>,
    /// For requests that only read.
    pub consistency: Consistency,
}

impl Request {
    /// A linearizable read of one key.
    pub fn get(key: impl Into<Bytes>) -> Request {
        Request::of(Step::Range { key: key.into(), end: Bytes::new() })
    }

    /// A put without a lease.
    pub fn put(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Request {
        Request::of(Step::Put { key: key.into(), value: value.into(), lease: 0 })
    }

    /// A deletion of one key.
    pub fn delete(key: impl Into<Bytes>) -> Request {
        Request::of(Step::Delete { key: key.into(), end: Bytes::new() })
    }

    /// One step without conditions.
    pub fn of(step: Step) -> Request {
        Request { success: vec![step], ..Request::default() }
    }

    /// Puts `value` if the key is still at `mod_revision`, else reads it.
    pub fn compare_and_put(
        key: impl Into<Bytes>,
        mod_revision: i64,
        value: impl Into<Bytes>,
    ) -> Request {
        let key = key.into();
        Request {
            compares: vec![Compare {
                key: key.clone(),
                target: Target::Mod(mod_revision),
                relation: Relation::Equal,
            }],
            success: vec![Step::Put { key: key.clone(), value: value.into(), lease: 0 }],
            failure: vec![Step::Range { key, end: Bytes::new() }],
            consistency: Consistency::Linearizable,
        }
    }

    /// The steps for this outcome of the comparisons.
    pub fn branch(&self, succeeded: bool) -> &[Step] {
        if succeeded { &self.success } else { &self.failure }
    }

    /// Whether either branch can change anything.
    pub fn may_write(&self) -> bool {
        let writes = |step: &Step| !matches!(step, Step::Range { .. });
        self.success.iter().any(writes) || self.failure.iter().any(writes)
    }
}

/// What one step was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepResult {
    /// The keys of a range, in order.
    Range(Vec<Kv>),
    /// A put; the pair before it when that was asked for.
    Put {
        /// `None`: not asked for. `Some(None)`: there was none.
        prev: Option<Option<Kv>>,
    },
    /// A deletion.
    Delete {
        /// How many keys.
        deleted: i64,
    },
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The revision of the header: that of the write, or of the state that was read.
    pub revision: i64,
    /// Which branch was taken; true without comparisons.
    pub succeeded: bool,
    /// The results of the branch's steps.
    pub results: Vec<StepResult>,
}

impl Response {
    /// Whether the request changed the store, by what the answer says.
    pub fn wrote(&self) -> bool {
        self.results.iter().any(|result| match result {
            StepResult::Range(_) => false,
            StepResult::Put { .. } => true,
            StepResult::Delete { deleted } => *deleted > 0,
        })
    }
}

/// What is known of how an operation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Answered.
    Done(Response),
    /// Not answered, yet others saw that it happened at this revision.
    Seen {
        /// The revision of its changes.
        revision: i64,
    },
    /// Not answered: it may happen at any time after it was sent, or never.
    Unknown,
    /// Not answered, and it had no effect: all changes are known and none is its.
    Never,
}

/// One request of one client.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Who; one client sends one request at a time.
    pub client: u32,
    /// When it was sent.
    pub invoked: u64,
    /// When it was answered, or first seen to have happened; `u64::MAX` for
    /// [`Outcome::Unknown`] and [`Outcome::Never`].
    pub returned: u64,
    /// What was asked for.
    pub request: Request,
    /// How it ended.
    pub outcome: Outcome,
}

impl Operation {
    /// The answer, when there is one.
    pub fn response(&self) -> Option<&Response> {
        match &self.outcome {
            Outcome::Done(response) => Some(response),
            Outcome::Seen { .. } | Outcome::Unknown | Outcome::Never => None,
        }
    }
}

/// Whether `key` lies in the range `[start, end)` in etcd's notation.
pub fn in_range(key: &[u8], start: &[u8], end: &[u8]) -> bool {
    match end {
        [] => key == start,
        [0] => key >= start,
        end => key >= start && key < end,
    }
}

/// Text of a key or value for messages.
pub fn show(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "client {} {:.3} ms", self.client, self.invoked as f64 / 1e6)?;
        match self.returned {
            u64::MAX => write!(f, "..      {} -> ", self.request)?,
            returned => write!(f, "..{:.3} ms {} -> ", returned as f64 / 1e6, self.request)?,
        }
        match &self.outcome {
            Outcome::Done(response) => write!(f, "{response}"),
            Outcome::Seen { revision } => write!(f, "no answer, seen at revision {revision}"),
            Outcome::Unknown => write!(f, "no answer"),
            Outcome::Never => write!(f, "no answer, no effect"),
        }
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.consistency {
            Consistency::Linearizable => {}
            Consistency::Serializable => write!(f, "serializable ")?,
            Consistency::At(revision) => write!(f, "at {revision} ")?,
        }
        let steps = |f: &mut fmt::Formatter<'_>, steps: &[Step]| -> fmt::Result {
            for (i, step) in steps.iter().enumerate() {
                write!(f, "{}{step}", if i > 0 { ", " } else { "" })?;
            }
            Ok(())
        };
        if self.compares.is_empty() {
            return steps(f, &self.success);
        }
        write!(f, "if")?;
        for compare in &self.compares {
            let key = show(&compare.key);
            write!(f, " {key} {:?} {:?}", compare.relation, compare.target)?;
        }
        write!(f, " then [")?;
        steps(f, &self.success)?;
        write!(f, "] else [")?;
        steps(f, &self.failure)?;
        write!(f, "]")
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Range { key, end } if end.is_empty() => write!(f, "get {}", show(key)),
            Step::Range { key, end } => write!(f, "range {}..{}", show(key), show(end)),
            Step::Put { key, value, lease: 0 } => write!(f, "put {}={}", show(key), show(value)),
            Step::Put { key, value, lease } => {
                write!(f, "put {}={} lease {lease:x}", show(key), show(value))
            }
            Step::Delete { key, end } if end.is_empty() => write!(f, "delete {}", show(key)),
            Step::Delete { key, end } => write!(f, "delete {}..{}", show(key), show(end)),
        }
    }
}

impl fmt::Display for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "revision {}", self.revision)?;
        if !self.succeeded {
            write!(f, " (else)")?;
        }
        for result in &self.results {
            match result {
                StepResult::Range(kvs) if kvs.is_empty() => write!(f, " nothing")?,
                StepResult::Range(kvs) => {
                    for kv in kvs {
                        write!(f, " {kv}")?;
                    }
                }
                StepResult::Put { .. } => write!(f, " ok")?,
                StepResult::Delete { deleted } => write!(f, " deleted {deleted}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Kv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Kv { create_revision, mod_revision, version, .. } = self;
        write!(f, "{}={}", show(&self.key), show(&self.value))?;
        write!(f, " (created {create_revision}, modified {mod_revision}, version {version})")
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.deleted {
            true => write!(f, "delete {} (at {})", show(&self.kv.key), self.kv.mod_revision),
            false => write!(f, "put {}", self.kv),
        }
    }
}
