//! A load of unary calls by many clients.

use crate::{
    grpc::{
        channel::{Channel, Keep},
        method::Method,
        status::Failure,
    },
    load::{fleet::Fleet, record::Recorder, run::Load, run::Run},
};
use anyhow::Result;
use bytes::{Bytes, BytesMut};
use std::{cell::RefCell, rc::Rc, time::Duration};
use tokio::task::JoinSet;

/// Rest of a client after a refusal, so that refusals do not make the load.
const PAUSE_AFTER_REFUSAL: Duration = Duration::from_millis(1);
/// Room that the buffer of outgoing messages is grown by; the allocator handles larger blocks slowly.
const MESSAGE_ROOM_BYTES: usize = 32 * 1024;

/// A request to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// What is called.
    pub(crate) method: Method,
    /// A number that its answer is handed back with.
    pub(crate) ticket: u64,
}

/// Makes the requests of a load; shared by its clients.
pub(crate) trait Requests {
    /// Appends the next request's framed message to `message`.
    fn next(&mut self, message: &mut BytesMut) -> Call;

    /// Whether [`Requests::answered`] wants the answers.
    fn keep(&self) -> Keep {
        Keep::Nothing
    }

    /// Takes the answer to the request of `ticket`.
    fn answered(
        &mut self,
        ticket: u64,
        answer: Bytes,
        recorder: &mut Recorder,
    ) -> Result<(), Failure> {
        let _ = (ticket, answer, recorder);
        Ok(())
    }
}

/// A load of `clients` clients, each with one request under way.
pub(crate) struct UnaryLoad<R> {
    requests: Rc<RefCell<R>>,
    message: Rc<RefCell<BytesMut>>,
    clients: usize,
}

impl<R: Requests + 'static> UnaryLoad<R> {
    /// A load of what `requests` makes.
    pub(crate) fn new(requests: R, clients: usize) -> Self {
        let requests = Rc::new(RefCell::new(requests));
        Self { requests, message: Rc::default(), clients }
    }
}

impl<R: Requests + 'static> Load for UnaryLoad<R> {
    async fn prepare(&mut self, _fleet: &Fleet, _stall: Duration) -> Result<()> {
        Ok(())
    }

    fn spawn(&mut self, fleet: &Fleet, run: &Rc<Run>, clients: &mut JoinSet<()>) {
        for index in 0..self.clients {
            let channel = fleet.channel(index);
            let requests = Rc::clone(&self.requests);
            let message = Rc::clone(&self.message);
            let run = Rc::clone(run);
            clients.spawn_local(async move { client(channel, &requests, &message, &run).await });
        }
    }
}

/// One client: request after request until the load is over or its connection is.
async fn client<R: Requests>(
    mut channel: Channel,
    requests: &RefCell<R>,
    message: &RefCell<BytesMut>,
    run: &Run,
) {
    let keep = requests.borrow().keep();
    while let Some(start) = run.pacer.next_start().await {
        let (call, framed) = {
            let mut message = message.borrow_mut();
            if message.capacity() == 0 {
                message.reserve(MESSAGE_ROOM_BYTES);
            }
            let call = requests.borrow_mut().next(&mut message);
            (call, message.split().freeze())
        };
        let outcome = channel.unary(call.method, framed, keep).await;
        let outcome = outcome.and_then(|answer| {
            if keep == Keep::Message {
                let mut recorder = run.recorder.borrow_mut();
                requests.borrow_mut().answered(call.ticket, answer.message, &mut recorder)?;
            }
            Ok(answer.bytes)
        });
        match outcome {
            Ok(bytes) => run.done(start, bytes),
            Err(failure) => {
                let broken = matches!(failure, Failure::Transport(_));
                run.failed(failure);
                if broken {
                    return;
                }
                tokio::time::sleep(PAUSE_AFTER_REFUSAL).await;
            }
        }
    }
}
