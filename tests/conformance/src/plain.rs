//! Plain HTTP/1.1 to a member, on one connection a request: what scripts, probes and browsers send.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};

use crate::member::Member;

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(20);

/// The head of an answer, and what of its body has been asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Answer {
    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// A connection with one request on it.
pub struct Exchange {
    stream: BufReader<TcpStream>,
}

impl Exchange {
    /// Sends a request; `body` is its whole body, or `None` for one that comes in chunks.
    pub async fn open(
        member: &Member,
        line: &str,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> Result<Exchange> {
        let url = member.client_url();
        let host = url.strip_prefix("http://").context("the member is without TLS")?;
        let mut stream = TcpStream::connect(host).await.context("connect")?;
        let mut head = format!("{line} HTTP/1.1\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            head.push_str(&format!("Host: {host}\r\n"));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        match body {
            Some("") => head.push_str("\r\n"),
            Some(body) => head.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len())),
            None => head.push_str("Transfer-Encoding: chunked\r\n\r\n"),
        }
        stream.write_all(head.as_bytes()).await?;
        Ok(Exchange { stream: BufReader::new(stream) })
    }

    /// Sends one chunk of a body.
    pub async fn send(&mut self, chunk: &str) -> Result<()> {
        let chunk = format!("{:x}\r\n{chunk}\r\n", chunk.len());
        Ok(self.stream.get_mut().write_all(chunk.as_bytes()).await?)
    }

    async fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        timeout(LIMIT, self.stream.read_line(&mut line)).await.context("no answer in time")??;
        Ok(line.trim_end().to_owned())
    }

    /// Reads status and headers.
    pub async fn head(&mut self) -> Result<Answer> {
        let first = self.line().await?;
        let status = first.split(' ').nth(1).with_context(|| format!("status line {first:?}"))?;
        let mut answer = Answer { status: status.parse()?, headers: vec![], body: String::new() };
        loop {
            let line = self.line().await?;
            let Some((name, value)) = line.split_once(':') else { return Ok(answer) };
            answer.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    /// Reads one chunk of the answer; empty at its end.
    pub async fn chunk(&mut self) -> Result<String> {
        let length = usize::from_str_radix(&self.line().await?, 16).context("length of a chunk")?;
        let mut chunk = vec![0; length + 2];
        timeout(LIMIT, self.stream.read_exact(&mut chunk)).await.context("chunk in time")??;
        chunk.truncate(length);
        Ok(String::from_utf8(chunk)?)
    }

    /// Reads the whole answer.
    pub async fn whole(mut self) -> Result<Answer> {
        let mut answer = self.head().await?;
        if answer.header("transfer-encoding") == Some("chunked") {
            loop {
                let chunk = self.chunk().await?;
                if chunk.is_empty() {
                    return Ok(answer);
                }
                answer.body.push_str(&chunk);
            }
        }
        let Some(length) = answer.header("content-length") else { bail!("an answer without end") };
        let mut body = vec![0; length.parse()?];
        timeout(LIMIT, self.stream.read_exact(&mut body)).await.context("body in time")??;
        answer.body = String::from_utf8(body)?;
        Ok(answer)
    }

    /// The connection, for another protocol after its head was read.
    pub fn into_stream(self) -> BufReader<TcpStream> {
        self.stream
    }
}

/// Sends a request and reads its answer.
pub async fn ask(
    member: &Member,
    line: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Result<Answer> {
    Exchange::open(member, line, headers, Some(body)).await?.whole().await
}

/// Calls a path of the JSON gateway.
pub async fn call(member: &Member, path: &str, json: &str) -> Result<Answer> {
    ask(member, &format!("POST {path}"), &[], json).await
}
