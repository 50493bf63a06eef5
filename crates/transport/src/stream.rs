//! The two kinds of streams between members.

/// What a stream carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StreamKind {
    /// MsgApp only, in msgappv2.
    MsgAppV2,
    /// Every message but MsgSnap.
    Message,
}

impl StreamKind {
    /// Its name in etcd's log.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            StreamKind::MsgAppV2 => "stream MsgApp v2",
            StreamKind::Message => "stream Message",
        }
    }

    /// The path below which a member asks for it, its own id following.
    pub(crate) fn path(self) -> &'static str {
        match self {
            StreamKind::MsgAppV2 => "/raft/stream/msgapp",
            StreamKind::Message => "/raft/stream/message",
        }
    }
}
