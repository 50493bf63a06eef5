//! `put`: one key per request.

use crate::{
    args::load::PutArgs,
    grpc::{frame, method::Method},
    load::{
        payload::{KeyPicker, KeySpace, Order, Values},
        unary::{Call, Requests},
    },
};
use anyhow::Result;
use api::etcdserverpb::PutRequest;
use bytes::BytesMut;

/// Puts over a key space.
#[derive(Debug)]
pub(crate) struct Puts {
    space: KeySpace,
    picker: KeyPicker,
    values: Values,
}

impl Puts {
    /// The puts of a command line.
    pub(crate) fn new(args: &PutArgs) -> Result<Self> {
        let seed = args.load.seed;
        Ok(Self {
            space: args.keys.space()?,
            picker: args.keys.picker(seed),
            values: args.values.values(seed),
        })
    }

    /// Puts that visit every key of `space` in order.
    pub(crate) fn filling(space: KeySpace, values: Values) -> Self {
        let picker = KeyPicker::new(Order::Sequential, space.len(), 0);
        Self { space, picker, values }
    }

    /// Keys in the key space.
    pub(crate) fn len(&self) -> u64 {
        self.space.len()
    }
}

impl Requests for Puts {
    fn next(&mut self, message: &mut BytesMut) -> Call {
        let ticket = self.picker.pick();
        let put = PutRequest {
            key: self.space.key(ticket),
            value: self.values.next(),
            ..PutRequest::default()
        };
        frame::encode(&put, message);
        Call { method: Method::Put, ticket }
    }
}
