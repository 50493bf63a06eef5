//! What commands print, in each output format.
//!
//! A command hands an [`Answer`] to the [`Printer`] of the chosen format; a format that cannot
//! show an answer fails with the text and exit code of etcdctl.

mod fields;
mod json;
mod protobuf;
mod rows;
mod simple;
mod table;

use std::io::{IsTerminal, Write};

use api::{
    etcdserverpb as pb,
    kv::{KeyValue, RawKeyValue},
};
use client::watch::WatchResponse;

use crate::exit::{Failure, Outcome};

/// The health of one endpoint.
pub(crate) struct Health {
    /// The endpoint.
    pub(crate) endpoint: String,
    /// Whether it answered and no alarm is raised.
    pub(crate) healthy: bool,
    /// How long the answer took.
    pub(crate) took: String,
    /// Why it is not healthy; empty when it is.
    pub(crate) error: String,
}

/// The state of one endpoint's member.
pub(crate) struct Status {
    /// The endpoint.
    pub(crate) endpoint: String,
    /// Its answer.
    pub(crate) response: pb::StatusResponse,
}

/// The hash of one endpoint's keys.
pub(crate) struct Hash {
    /// The endpoint.
    pub(crate) endpoint: String,
    /// Its answer.
    pub(crate) response: pb::HashKvResponse,
}

/// Everything that commands print through a format.
pub(crate) enum Answer<'a> {
    Get(&'a pb::RangeResponse),
    Put(&'a pb::PutResponse),
    Del(&'a pb::DeleteRangeResponse),
    Txn(&'a pb::TxnResponse),
    Watch(&'a WatchResponse),
    Grant(&'a pb::LeaseGrantResponse),
    Revoke {
        id: i64,
        response: &'a pb::LeaseRevokeResponse,
    },
    KeepAlive(&'a pb::LeaseKeepAliveResponse),
    TimeToLive {
        response: &'a pb::LeaseTimeToLiveResponse,
        keys: bool,
    },
    Leases(&'a pb::LeaseLeasesResponse),
    MemberAdd(&'a pb::MemberAddResponse),
    MemberRemove {
        id: u64,
        response: &'a pb::MemberRemoveResponse,
    },
    MemberUpdate {
        id: u64,
        response: &'a pb::MemberUpdateResponse,
    },
    MemberPromote {
        id: u64,
        response: &'a pb::MemberPromoteResponse,
    },
    MemberList(&'a pb::MemberListResponse),
    EndpointHealth(&'a [Health]),
    EndpointStatus(&'a [Status]),
    EndpointHashKv(&'a [Hash]),
    MoveLeader {
        leader: u64,
        target: u64,
        response: &'a pb::MoveLeaderResponse,
    },
    Downgrade {
        action: &'a str,
        response: &'a pb::DowngradeResponse,
    },
    Alarm(&'a pb::AlarmResponse),
    AuthStatus(&'a pb::AuthStatusResponse),
    RoleAdd {
        role: &'a str,
        response: &'a pb::AuthRoleAddResponse,
    },
    RoleGet {
        role: &'a str,
        response: &'a pb::AuthRoleGetResponse,
    },
    RoleDelete {
        role: &'a str,
        response: &'a pb::AuthRoleDeleteResponse,
    },
    RoleList(&'a pb::AuthRoleListResponse),
    RoleGrant {
        role: &'a str,
        response: &'a pb::AuthRoleGrantPermissionResponse,
    },
    RoleRevoke {
        role: &'a str,
        key: &'a [u8],
        end: &'a [u8],
        response: &'a pb::AuthRoleRevokePermissionResponse,
    },
    UserAdd {
        user: &'a str,
        response: &'a pb::AuthUserAddResponse,
    },
    UserGet {
        user: &'a str,
        response: &'a pb::AuthUserGetResponse,
    },
    UserList(&'a pb::AuthUserListResponse),
    UserPassword(&'a pb::AuthUserChangePasswordResponse),
    UserGrant {
        user: &'a str,
        role: &'a str,
        response: &'a pb::AuthUserGrantRoleResponse,
    },
    UserRevoke {
        user: &'a str,
        role: &'a str,
        response: &'a pb::AuthUserRevokeRoleResponse,
    },
    UserDelete {
        user: &'a str,
        response: &'a pb::AuthUserDeleteResponse,
    },
}

/// One output format.
pub(crate) trait Printer {
    /// Writes `answer` to `out`.
    fn print(&self, answer: &Answer<'_>, out: &mut dyn Write) -> Outcome;
}

/// The formats of `--write-out`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Lines for people, the default.
    Simple,
    /// `"Name" : value` lines.
    Fields,
    /// JSON on one line.
    Json,
    /// The encoded response.
    Protobuf,
    /// A table with lines around its cells.
    Table,
}

impl Format {
    /// The format of this name.
    pub(crate) fn named(name: &str) -> Result<Format, Failure> {
        Ok(match name {
            "simple" => Format::Simple,
            "fields" => Format::Fields,
            "json" => Format::Json,
            "protobuf" => Format::Protobuf,
            "table" => Format::Table,
            _ => return Err(Failure::bad_feature("unsupported output format")),
        })
    }

    /// The format's printer.
    pub(crate) fn printer(self, hex: bool, value_only: bool) -> Box<dyn Printer> {
        match self {
            Format::Simple => {
                let terminal = std::io::stdout().is_terminal();
                Box::new(simple::Simple { hex, value_only, terminal })
            }
            Format::Fields => Box::new(fields::Fields { hex }),
            Format::Json => Box::new(json::Json { hex }),
            Format::Protobuf => Box::new(protobuf::Protobuf),
            Format::Table => Box::new(table::Table),
        }
    }
}

/// The failure of a format that cannot show an answer.
fn unsupported(format: &str) -> Failure {
    Failure::bad_feature(format!("{format} not supported as output format"))
}

/// A key-value of a response. Servers send well-formed ones; anything else prints as empty.
fn decoded(kv: &RawKeyValue) -> KeyValue {
    kv.decode().unwrap_or_default()
}

#[cfg(test)]
mod tests;
