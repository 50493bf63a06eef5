//! The v2 API over plain HTTP: a few hundred requests and what etcd 3.4 answers.
//!
//! `transcripts/v2-answers.txt` is what etcd 3.4 answers to `transcripts/v2-requests.txt`:
//! `OXETCD_BIN=/path/to/etcd-3.4 UPDATE=1 cargo test -p conformance --test v2 transcript` writes it;
//! without `UPDATE` the same compares a real etcd with it.

use std::{
    collections::VecDeque,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use conformance::{
    member::Member,
    plain::{Answer, Exchange, ask},
};

/// How long something may take that comes by itself.
const LIMIT: Duration = Duration::from_secs(60);
const FORM: &str = "application/x-www-form-urlencoded";

fn transcript(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("transcripts").join(name)
}

/// What the requests are sent to, and what is kept between them.
struct Session {
    member: Member,
    /// What differs between two members, and what stands for it.
    names: Vec<(String, &'static str)>,
    authorization: Option<String>,
    watches: VecDeque<Exchange>,
}

impl Session {
    /// Waits until all is told to the cluster that a new member tells.
    async fn new(member: Member) -> Result<Session> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let answer = ask(&member, "GET /v2/keys", &[], "").await?;
            ensure!(Instant::now() < deadline, "the index never was 3: {answer:?}");
            if answer.header("x-etcd-index") == Some("3") {
                break;
            }
            ensure!(answer.status == 200 || answer.status == 404, "not served: {answer:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let members = ask(&member, "GET /v2/members", &[], "").await?.body;
        let members: serde_json::Value = serde_json::from_str(&members)?;
        let own = &members["members"][0];
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let peer = text(&own["peerURLs"][0]).replace("http://", "");
        let names = vec![
            (text(&own["id"]), "MEMBER"),
            (peer, "PEER"),
            (member.client_url().replace("http://", ""), "CLIENT"),
        ];
        Ok(Session { member, names, authorization: None, watches: VecDeque::new() })
    }

    /// One line of the requests; what came of it, if anything did.
    async fn run(&mut self, line: &str) -> Result<Option<String>> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let text = match word {
            "as" => {
                self.authorization = (rest != "nobody").then(|| format!("Basic {}", base64(rest)));
                return Ok(None);
            }
            "watch:" => {
                let line = format!("GET {rest}");
                let mut watch = Exchange::open(&self.member, &line, &[], Some("")).await?;
                let head = watch.head().await?;
                self.watches.push_back(watch);
                show(&head, false)
            }
            "event" => self.watch()?.chunk().await?,
            "end" => {
                let mut watch = self.watches.pop_front().context("no watch")?;
                ensure!(watch.chunk().await?.is_empty(), "the watch goes on");
                return Ok(None);
            }
            "forget" => {
                self.watches.pop_front();
                return Ok(None);
            }
            "gone:" => {
                let deadline = Instant::now() + LIMIT;
                loop {
                    let answer = self.ask(&format!("GET {rest}"), FORM, "").await?;
                    ensure!(Instant::now() < deadline, "still there: {answer:?}");
                    if answer.status == 404 {
                        break show(&answer, true);
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
            "json:" => {
                let mut parts = rest.splitn(3, ' ');
                let request =
                    format!("{} {}", parts.next().unwrap_or(""), parts.next().unwrap_or(""));
                let body = parts.next().unwrap_or_default().replace("PEER", &self.names[1].0);
                show(&self.ask(&request, "application/json", &body).await?, true)
            }
            method => {
                let (path, body) = rest.split_once(' ').unwrap_or((rest, ""));
                let answer = self.ask(&format!("{method} {path}"), FORM, body).await?;
                show(&answer, true)
            }
        };
        Ok(Some(self.without_names(&text)))
    }

    fn watch(&mut self) -> Result<&mut Exchange> {
        self.watches.front_mut().context("no watch")
    }

    async fn ask(&self, request: &str, kind: &str, body: &str) -> Result<Answer> {
        let mut headers = vec![("content-type", kind)];
        headers.extend(self.authorization.as_ref().map(|value| ("authorization", value.as_str())));
        if request.starts_with("HEAD") {
            // There is no body, whatever its length is said to be.
            return Exchange::open(&self.member, request, &headers, Some(body)).await?.head().await;
        }
        ask(&self.member, request, &headers, body).await
    }

    /// A text with names in the place of what differs, and of times.
    fn without_names(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (value, name) in &self.names {
            text = text.replace(value, name);
        }
        let text = replaced(&text, "\"expiration\":\"", |time| {
            assert!(time.ends_with('Z') && time.len() >= 20, "a time in UTC: {time}");
            "TIME".to_owned()
        });
        // What is left of a long time, as if none had passed.
        replaced(&text, "\"ttl\":", |left| match left.parse::<u64>() {
            Ok(left) if left > 400 => left.next_multiple_of(500).to_string(),
            _ => left.to_owned(),
        })
    }
}

/// A text with what follows each `mark`, up to the next `"`, `,` or `}`, in another form.
fn replaced(text: &str, mark: &str, with: impl Fn(&str) -> String) -> String {
    let mut parts = text.split(mark);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(['"', ',', '}']).unwrap_or(part.len());
        out += mark;
        out += &with(&part[..end]);
        out += &part[end..];
    }
    out
}

/// What is compared of an answer.
fn show(answer: &Answer, whole: bool) -> String {
    let mut text = format!("{}", answer.status);
    for name in ["allow", "content-type", "x-etcd-index"] {
        if let Some(value) = answer.header(name) {
            text += &format!(" {name}={value}");
        }
    }
    for name in ["x-etcd-cluster-id", "x-raft-index", "x-raft-term"] {
        text += if answer.header(name).is_some() { " +" } else { " -" };
        text += name;
    }
    text.push('\n');
    if whole {
        text += &answer.body;
    }
    text
}

fn base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |bits: u32| char::from(DIGITS[bits as usize & 63]);
    let encode = |chunk: &[u8]| -> String {
        let bits = chunk.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - chunk.len()));
        let all = [bits >> 18, bits >> 12, bits >> 6, bits].map(digit);
        let shown = all.iter().take(chunk.len() + 1).collect::<String>();
        format!("{shown:=<4}")
    };
    text.as_bytes().chunks(3).map(encode).collect()
}

#[tokio::test]
async fn the_transcript_is_that_of_etcd_3_4() -> Result<()> {
    let mut session = Session::new(Member::under_test(&["--enable-v2"]).await).await?;
    let requests = std::fs::read_to_string(transcript("v2-requests.txt"))?;
    let mut answers = String::new();
    for line in requests.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let came = session.run(line).await.with_context(|| format!("at {line:?}"))?;
        let Some(came) = came else { continue };
        answers += &format!("> {line}\n{}\n", came.trim_end_matches('\n'));
    }
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(transcript("v2-answers.txt"), answers)?;
        return Ok(());
    }
    let expected = std::fs::read_to_string(transcript("v2-answers.txt"))?;
    let (theirs, ours): (Vec<_>, Vec<_>) =
        (expected.split("\n> ").collect(), answers.split("\n> ").collect());
    let differing: Vec<String> = theirs
        .iter()
        .zip(&ours)
        .filter(|(theirs, ours)| theirs != ours)
        .map(|(theirs, ours)| format!("etcd 3.4: {theirs}\nthis:     {ours}\n"))
        .collect();
    assert!(differing.is_empty(), "{} differ:\n{}", differing.len(), differing.join("\n"));
    ensure!(theirs.len() == ours.len() && ours.len() > 300, "{} answers", ours.len());
    session.member.assert_sound();
    Ok(())
}

async fn put(member: &Member, key: &str, value: &str) -> Result<Answer> {
    let headers = [("content-type", FORM)];
    ask(member, &format!("PUT /v2/keys/{key}"), &headers, &format!("value={value}")).await
}

async fn keys(member: &Member) -> Result<String> {
    Ok(ask(member, "GET /v2/keys?recursive=true&sorted=true", &[], "").await?.body)
}

/// What was acknowledged is there after a crash, with its indexes and its history, whether the store
/// has been written since or only the log.
#[tokio::test]
async fn nothing_acknowledged_is_lost_in_a_crash() -> Result<()> {
    let mut member = Member::under_test(&["--enable-v2", "--snapshot-count=50"]).await;
    for round in 0..3 {
        for key in 0..60 {
            let answer = put(&member, &format!("r{round}/k{}", key % 20), &key.to_string()).await?;
            ensure!(answer.status == 200 || answer.status == 201, "{answer:?}");
        }
        let answer = ask(&member, "DELETE /v2/keys/r0?recursive=true", &[], "").await?;
        ensure!(answer.status == if round == 0 { 200 } else { 404 }, "{answer:?}");
        let before = keys(&member).await?;
        member.kill();
        member.restart().await?;
        assert_eq!(keys(&member).await?, before);
    }
    let first = ask(&member, "GET /v2/keys/r1/k0?wait=true&waitIndex=5", &[], "").await?;
    assert!(first.body.starts_with(r#"{"action":"set","node":{"key":"/r1/k0","value":"0","#));
    member.assert_sound();
    Ok(())
}

#[tokio::test]
async fn without_the_flag_there_is_no_v2_api() -> Result<()> {
    let member = Member::under_test(&[]).await;
    for path in ["/v2/keys", "/v2/members", "/v2/auth/enable", "/v2/stats/self", "/v2/machines"] {
        let answer = ask(&member, &format!("GET {path}"), &[], "").await?;
        assert_eq!((answer.status, &*answer.body), (404, "404 page not found\n"), "{path}");
    }
    let refused = put(&member, "a", "1").await?;
    if refused.status != 404 {
        bail!("{refused:?}");
    }
    Ok(())
}

/// A body, a path and a number of watchers that nobody needs.
#[tokio::test]
async fn what_is_too_large_is_refused() -> Result<()> {
    let mut member = Member::under_test(&["--enable-v2"]).await;
    let path = format!("GET /v2/keys{}", "/a".repeat(2000));
    let answer = ask(&member, &path, &[], "").await?;
    assert_eq!(answer.status, 400);
    let answer = put(&member, "big", &"x".repeat(11 << 20)).await;
    // A server that does not read on may close the connection before it is all sent.
    if let Ok(answer) = answer {
        assert_eq!((answer.status, answer.body.contains("http: POST too large")), (400, true));
    }
    let value = "y".repeat(1 << 20);
    assert_eq!(put(&member, "large", &value).await?.status, 201);
    let read = ask(&member, "GET /v2/keys/large", &[], "").await?;
    assert!(read.body.contains(&value));
    member.assert_sound();
    Ok(())
}

/// What a path means is what rights are judged by, however it is written.
#[tokio::test]
async fn no_spelling_of_a_path_leads_past_the_rights() -> Result<()> {
    let mut session = Session::new(Member::under_test(&["--enable-v2"]).await).await?;
    for line in [
        "PUT /v2/keys/secret value=kept",
        r#"json: PUT /v2/auth/users/root {"user":"root","password":"pw"}"#,
        r#"json: PUT /v2/auth/roles/r {"role":"r","permissions":{"kv":{"read":["/r/*"],"write":["/r/*"]}}}"#,
        r#"json: PUT /v2/auth/users/bob {"user":"bob","password":"b","roles":["r"]}"#,
        r#"json: PUT /v2/auth/roles/guest {"role":"guest"}"#,
        "PUT /v2/auth/enable",
        "as bob:b",
    ] {
        let came = session.run(line).await?.unwrap_or_default();
        ensure!(came.is_empty() || came.starts_with("20"), "{line}: {came}");
    }
    assert_eq!(session.ask("PUT /v2/keys/r/own", FORM, "value=1").await?.status, 201);
    for path in
        ["r/../secret", "r/%2e%2e/secret", "r/.%2E/secret", "r%2F..%2Fsecret", "r//../secret"]
    {
        for method in ["GET", "PUT", "DELETE"] {
            let request = format!("{method} /v2/keys/{path}");
            let answer = session.ask(&request, FORM, "value=taken").await?;
            ensure!((300..400).contains(&answer.status), "{request}: {answer:?}");
            assert_eq!(answer.header("location"), Some("/v2/keys/secret"), "{request}");
        }
    }
    for request in
        ["GET /v2/keys/secret", "GET /v2/keys/%73ecret", "GET /v2/keys/secret?quorum=true"]
    {
        assert_eq!(session.ask(request, FORM, "").await?.status, 401, "{request}");
    }
    session.run("as root:pw").await?;
    let answer = session.ask("GET /v2/keys/secret", FORM, "").await?;
    assert!(answer.body.contains(r#""value":"kept""#), "{answer:?}");
    session.member.assert_sound();
    Ok(())
}
