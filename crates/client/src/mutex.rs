//! A lock over the cluster, compatible with that of etcd's clients: the oldest key under
//! `NAME/` is the owner's; keys are named by the session's lease.

use api::etcdserverpb::{DeleteRangeRequest, PutRequest, ResponseHeader};

use crate::{error::Error, kv, queue, session::Session};

/// A place in the queue for a lock.
pub struct Mutex<'a> {
    session: &'a Session,
    prefix: String,
    key: String,
    revision: i64,
    header: ResponseHeader,
}

impl<'a> Mutex<'a> {
    /// A handle on the lock `name`; takes no place yet.
    pub fn new(session: &'a Session, name: &str) -> Mutex<'a> {
        let prefix = format!("{name}/");
        let key = format!("{prefix}{:x}", session.lease());
        Mutex { session, prefix, key, revision: 0, header: ResponseHeader::default() }
    }

    /// Takes the lock; waits while others have it. When waiting fails, the place is given up. A
    /// caller that stops waiting must [`unlock`](Mutex::unlock).
    pub async fn lock(&mut self) -> Result<(), Error> {
        let client = self.session.client();
        let put = kv::put_op(PutRequest {
            key: self.key.clone().into(),
            lease: self.session.lease(),
            ..PutRequest::default()
        });
        let owner = kv::range_op(kv::first_created(&self.prefix));
        let mine = kv::range_op(kv::get(self.key.clone()));
        let compare = vec![kv::created_at(self.key.clone(), 0)];
        let answer =
            client.txn(kv::txn(compare, vec![put, owner.clone()], vec![mine, owner])).await?;
        let header = answer.header.unwrap_or_default();
        self.revision = header.revision;
        if !answer.succeeded {
            self.revision = created(&answer.responses, 0).unwrap_or(header.revision);
        }
        let owner = created(&answer.responses, 1);
        if owner.is_none_or(|revision| revision == self.revision) {
            self.header = header;
            return Ok(());
        }
        match self.wait().await {
            Err(error) => {
                // The error tells more than a failure to give up the place would.
                drop(self.unlock().await);
                Err(error)
            }
            Ok(found) => found,
        }
    }

    /// Waits for the front of the queue; the inner error is the loss of the place itself.
    async fn wait(&mut self) -> Result<Result<(), Error>, Error> {
        let client = self.session.client();
        queue::wait_for_front(client, &self.prefix, self.revision - 1).await?;
        let answer = client.range(kv::get(self.key.clone())).await?;
        if answer.kvs.is_empty() {
            return Ok(Err(Error::Recipe("mutex: session is expired")));
        }
        self.header = answer.header.unwrap_or_default();
        Ok(Ok(()))
    }

    /// Gives up the lock, or the place in its queue.
    pub async fn unlock(&mut self) -> Result<(), Error> {
        let request =
            DeleteRangeRequest { key: self.key.clone().into(), ..DeleteRangeRequest::default() };
        self.session.client().delete_range(request).await?;
        Ok(())
    }

    /// The key that stands for the place.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The header of the answer that gave the lock; its revision orders owners.
    pub fn header(&self) -> ResponseHeader {
        self.header
    }
}

/// The create revision of the first key that the read at `index` found.
fn created(responses: &[api::etcdserverpb::ResponseOp], index: usize) -> Option<i64> {
    let found = kv::range_answer(responses, index)?.kvs.first()?;
    Some(found.decode().ok()?.create_revision)
}
