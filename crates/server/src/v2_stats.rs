//! The statistics of `/v2/stats/self` and `/v2/stats/leader`. Counted with `--enable-v2` only.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use api::{
    ids::MemberId,
    raftpb::{Message, MessageType},
};
use config::GoDuration;
use parking_lot::Mutex;
use v2store::text;

use crate::{clock, handle::Handle};

/// Messages that a rate is taken from.
const SAMPLES_MAX: usize = 200;
/// After so long without a message there is no rate.
const QUIET: Duration = Duration::from_secs(1);

/// See the module.
pub(crate) struct V2Stats {
    name: String,
    enabled: bool,
    started_ns: i64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    leader: Option<(MemberId, i64)>,
    received: Traffic,
    sent: Traffic,
    followers: BTreeMap<MemberId, Follower>,
}

/// Messages with entries, one way.
#[derive(Default)]
struct Traffic {
    count: u64,
    recent: VecDeque<(Instant, usize)>,
}

impl Traffic {
    fn add(&mut self, now: Instant, bytes: usize) {
        self.count += 1;
        if self.recent.len() == SAMPLES_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back((now, bytes));
    }

    /// Messages and bytes a second.
    fn rates(&self, now: Instant) -> Option<(f64, f64)> {
        let (first, last) = (self.recent.front()?.0, self.recent.back()?.0);
        let seconds = (last - first).as_secs_f64();
        if now - last > QUIET || seconds == 0.0 {
            return None;
        }
        let bytes: usize = self.recent.iter().map(|(_, bytes)| bytes).sum();
        Some((self.recent.len() as f64 / seconds, bytes as f64 / seconds))
    }

    fn push(&self, out: &mut String, name: &str, now: Instant) {
        out.push_str(&format!(",\"{name}AppendRequestCnt\":{}", self.count));
        if let Some((messages, bytes)) = self.rates(now) {
            out.push_str(&format!(",\"{name}PkgRate\":{messages},\"{name}BandwidthRate\":{bytes}"));
        }
    }
}

/// How long a follower takes to answer, in milliseconds.
#[derive(Default)]
struct Follower {
    asked: Option<Instant>,
    fail: u64,
    success: u64,
    current: f64,
    sum: f64,
    sum_of_squares: f64,
    range: Option<(f64, f64)>,
}

impl Follower {
    fn answered(&mut self, now: Instant) {
        let Some(asked) = self.asked.take() else { return };
        let took = (now - asked).as_secs_f64() * 1000.0;
        self.current = took;
        self.success += 1;
        self.sum += took;
        self.sum_of_squares += took * took;
        let (least, most) = self.range.unwrap_or((took, took));
        self.range = Some((least.min(took), most.max(took)));
    }

    fn to_json(&self) -> String {
        let count = (self.success as f64).max(1.0);
        let average = self.sum / count;
        let deviation = (self.sum_of_squares / count - average * average).max(0.0).sqrt();
        // Without an answer, the least is as much as etcd begins with.
        let (least, most) = self.range.unwrap_or(((1_u64 << 63) as f64, 0.0));
        format!(
            "{{\"latency\":{{\"current\":{},\"average\":{average},\"standardDeviation\":{deviation},\
             \"minimum\":{least},\"maximum\":{most}}},\"counts\":{{\"fail\":{},\"success\":{}}}}}",
            self.current, self.fail, self.success
        )
    }
}

impl V2Stats {
    /// Nothing is counted yet, and never will be unless `enabled`.
    pub(crate) fn new(name: &str, enabled: bool) -> V2Stats {
        let (name, state) = (name.to_owned(), Mutex::default());
        V2Stats { name, enabled, started_ns: clock::unix_ns(), state }
    }

    /// Whether the v2 API is served.
    pub(crate) fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Notes who leads.
    pub(crate) fn saw_leader(&self, leader: MemberId) {
        let mut state = self.state.lock();
        if leader != MemberId(0) && state.leader.is_none_or(|(known, _)| known != leader) {
            state.leader = Some((leader, clock::unix_ns()));
        }
    }

    /// Messages go out.
    pub(crate) fn sent(&self, messages: &[Message], size: impl Fn(&Message) -> usize) {
        if !self.enabled {
            return;
        }
        let now = Instant::now();
        let mut state = self.state.lock();
        for message in messages.iter().filter(|m| m.r#type == MessageType::MsgApp as i32) {
            state.sent.add(now, size(message));
            let follower = state.followers.entry(MemberId(message.to)).or_default();
            follower.asked.get_or_insert(now);
        }
    }

    /// Messages came in.
    pub(crate) fn received(&self, messages: &[Message], size: impl Fn(&Message) -> usize) {
        if !self.enabled {
            return;
        }
        let now = Instant::now();
        let mut state = self.state.lock();
        for message in messages {
            if message.r#type == MessageType::MsgApp as i32 {
                state.received.add(now, size(message));
            } else if message.r#type == MessageType::MsgAppResp as i32
                && let Some(follower) = state.followers.get_mut(&MemberId(message.from))
            {
                follower.answered(now);
            }
        }
    }

    /// A message was not delivered.
    pub(crate) fn failed(&self, to: MemberId) {
        if self.enabled
            && let Some(follower) = self.state.lock().followers.get_mut(&to)
        {
            follower.fail += 1;
            follower.asked = None;
        }
    }

    /// `/v2/stats/self`.
    pub(crate) fn own(&self, handle: &Handle) -> String {
        self.saw_leader(handle.progress.leader());
        let state = self.state.lock();
        let (leader, since) = state.leader.unwrap_or((MemberId(0), self.started_ns));
        let leads = handle.progress.leader() == handle.member;
        let mut out = String::from("{\"name\":");
        text::push_string(&mut out, &self.name);
        let leader_id = if leader == MemberId(0) { String::new() } else { leader.to_string() };
        let uptime = GoDuration::from_nanos(clock::unix_ns().saturating_sub(since));
        out.push_str(&format!(
            ",\"id\":\"{}\",\"state\":\"State{}\",\"startTime\":\"{}\",\
             \"leaderInfo\":{{\"leader\":\"{leader_id}\",\"uptime\":\"{uptime}\",\
             \"startTime\":\"{}\"}}",
            handle.member,
            if leads { "Leader" } else { "Follower" },
            text::time(self.started_ns),
            text::time(since),
        ));
        let now = Instant::now();
        state.received.push(&mut out, "recv", now);
        state.sent.push(&mut out, "send", now);
        out.push('}');
        out
    }

    /// `/v2/stats/leader`.
    pub(crate) fn followers(&self, handle: &Handle) -> String {
        let state = self.state.lock();
        let membership = handle.shared.membership.read();
        let others = membership.members().filter(|member| member.id != handle.member);
        let followers: Vec<String> = others
            .map(|member| {
                let unknown = Follower::default();
                let follower = state.followers.get(&member.id).unwrap_or(&unknown);
                format!("\"{}\":{}", member.id, follower.to_json())
            })
            .collect();
        format!("{{\"leader\":\"{}\",\"followers\":{{{}}}}}", handle.member, followers.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_summed_up() {
        let start = Instant::now();
        let mut follower = Follower::default();
        for millis in [10, 30] {
            follower.asked = Some(start);
            follower.answered(start + Duration::from_millis(millis));
        }
        follower.answered(start);
        assert_eq!(
            follower.to_json(),
            r#"{"latency":{"current":30,"average":20,"standardDeviation":10,"minimum":10,"maximum":30},"counts":{"fail":0,"success":2}}"#
        );
        assert!(Follower::default().to_json().contains("\"minimum\":9223372036854776000"));
    }

    #[test]
    fn rates_are_of_the_last_messages() {
        let start = Instant::now();
        let mut traffic = Traffic::default();
        assert_eq!(traffic.rates(start), None);
        for n in 0..300_u64 {
            traffic.add(start + Duration::from_millis(10 * n), 100);
        }
        let last = start + Duration::from_millis(2990);
        let (messages, bytes) = traffic.rates(last).unwrap();
        assert!((messages - 200.0 / 1.99).abs() < 1e-6 && (bytes - messages * 100.0).abs() < 1e-6);
        assert_eq!(traffic.rates(last + 2 * QUIET), None);
        assert_eq!(traffic.count, 300);
    }
}
