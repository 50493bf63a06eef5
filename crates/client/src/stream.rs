//! Calls that answer with many messages: snapshots and streamed ranges.

use api::etcdserverpb::{
    RangeRequest, RangeResponse, RangeStreamResponse, SnapshotRequest, SnapshotResponse,
};
use tonic::{Code, Streaming};

use crate::{client::Client, error::Error, retry};

/// The answers of one call, in order.
pub struct Answers<R> {
    client: Client,
    stream: Streaming<R>,
    /// Received while the call was made.
    first: Option<R>,
}

impl<R> Answers<R> {
    /// The next answer; `None` after the last. The deadline of the client that made the call
    /// bounds this too.
    pub async fn next(&mut self) -> Result<Option<R>, Error> {
        match self.first.take() {
            Some(answer) => Ok(Some(answer)),
            None => self.client.receive(&mut self.stream).await,
        }
    }
}

impl Client {
    /// Asks one member for a snapshot of its store. Until the first piece has come, the call is
    /// made again while the cluster is unavailable.
    pub async fn snapshot(&self) -> Result<Answers<SnapshotResponse>, Error> {
        let mut attempt = 0;
        loop {
            match self.open_snapshot().await {
                Err(error) if error.code() == Code::Unavailable => {
                    attempt += 1;
                    tracing::warn!(attempt, error = error.rpc_text(), "retrying RecvMsg");
                    let pause = retry::pause(attempt, self.endpoints().len());
                    tokio::time::sleep(pause.unwrap_or_default()).await;
                }
                result => return result,
            }
        }
    }

    async fn open_snapshot(&self) -> Result<Answers<SnapshotResponse>, Error> {
        let path = "/etcdserverpb.Maintenance/Snapshot";
        let mut stream = self.server_streaming(path, SnapshotRequest {}).await?;
        tracing::info!("opened snapshot stream; downloading");
        let first = self.receive(&mut stream).await?;
        Ok(Answers { client: self.clone(), stream, first })
    }

    /// Reads keys as a stream of pieces. Not repeated when it fails.
    pub async fn range_stream(
        &self,
        request: RangeRequest,
    ) -> Result<Answers<RangeStreamResponse>, Error> {
        let stream = self.server_streaming("/etcdserverpb.KV/RangeStream", request).await?;
        Ok(Answers { client: self.clone(), stream, first: None })
    }

    /// Reads keys as a stream and puts the pieces together into what `range` would answer.
    pub async fn range_collected(&self, request: RangeRequest) -> Result<RangeResponse, Error> {
        let mut pieces = self.range_stream(request).await?;
        let mut whole = RangeResponse::default();
        while let Some(piece) = pieces.next().await? {
            let Some(piece) = piece.range_response else { continue };
            whole.header = piece.header.or(whole.header);
            whole.kvs.extend(piece.kvs);
            whole.more |= piece.more;
            if piece.count != 0 {
                whole.count = piece.count;
            }
        }
        Ok(whole)
    }
}
