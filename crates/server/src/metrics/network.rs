//! The series of the peer network, `etcd_network_*`: the transport counts, this names. They come as
//! text, for their labels follow the members.

use std::{fmt::Write as _, sync::Arc};

use api::ids::MemberId;
use transport::stats::{HistogramReading, PeerStats, Stats};

use crate::handle::Handle;

type Peers = Vec<(MemberId, Arc<PeerStats>)>;

/// How a series is labelled.
#[derive(Clone, Copy)]
enum Label {
    To,
    From,
    Both,
}

/// Text under construction.
struct Page {
    own: MemberId,
    text: String,
}

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}")
            .expect("a string takes everything");
    }

    fn labels(&self, label: Label, member: MemberId) -> String {
        match label {
            Label::To => format!("To=\"{member}\""),
            Label::From => format!("From=\"{member}\""),
            Label::Both => format!("Local=\"{}\",Remote=\"{member}\"", self.own),
        }
    }

    /// A counter or gauge with one value per member, and perhaps one more under labels of its own.
    fn numbers(
        &mut self,
        (name, kind, help): (&str, &str, &str),
        label: Label,
        peers: &Peers,
        value: impl Fn(&PeerStats) -> i64,
        more: Option<(&str, u64)>,
    ) {
        let more = more.filter(|(_, value)| *value > 0);
        if peers.is_empty() && more.is_none() {
            return;
        }
        self.head(name, kind, help);
        for (member, stats) in peers {
            let (labels, value) = (self.labels(label, *member), value(stats));
            writeln!(self.text, "{name}{{{labels}}} {value}").expect("a string takes everything");
        }
        if let Some((labels, value)) = more {
            writeln!(self.text, "{name}{{{labels}}} {value}").expect("a string takes everything");
        }
    }

    fn histogram(
        &mut self,
        (name, help): (&str, &str),
        label: Label,
        peers: &Peers,
        read: impl Fn(&PeerStats) -> HistogramReading,
    ) {
        if peers.is_empty() {
            return;
        }
        self.head(name, "histogram", help);
        for (member, stats) in peers {
            let labels = self.labels(label, *member);
            let HistogramReading { buckets, count, sum_seconds } = read(stats);
            let mut line = |rest: String| {
                writeln!(self.text, "{name}{rest}").expect("a string takes everything");
            };
            for (bound, below) in buckets {
                line(format!("_bucket{{{labels},le=\"{bound}\"}} {below}"));
            }
            line(format!("_bucket{{{labels},le=\"+Inf\"}} {count}"));
            line(format!("_sum{{{labels}}} {sum_seconds}"));
            line(format!("_count{{{labels}}} {count}"));
        }
    }
}

/// Counts never come near the limit.
fn count(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The series as text; empty for a member without a network.
pub(super) fn text(handle: &Handle) -> String {
    let Some(stats) = handle.network.stats() else { return String::new() };
    let known: Vec<MemberId> = {
        let membership = handle.shared.membership.read();
        // This one too, as in etcd.
        membership.members().map(|member| member.id).collect()
    };
    page(handle.member, &known, &stats)
}

fn page(own: MemberId, known: &[MemberId], stats: &Stats) -> String {
    // Member 0 stands for link heartbeats, which etcd counts as received only.
    let all = stats.peers();
    let peers: Peers = all.iter().filter(|(id, _)| id.0 != 0).cloned().collect();
    let mut page = Page { own, text: String::new() };
    page.head("etcd_network_known_peers", "gauge", "1 for each member that is known.");
    for member in known {
        let labels = page.labels(Label::Both, *member);
        writeln!(page.text, "etcd_network_known_peers{{{labels}}} 1")
            .expect("a string takes everything");
    }
    links(&mut page, &peers, &all, stats);
    snapshots(&mut page, &peers, stats);
    page.text
}

fn links(page: &mut Page, peers: &Peers, all: &Peers, stats: &Stats) {
    let active = ("etcd_network_active_peers", "gauge", "1 for each member that is connected.");
    page.numbers(active, Label::Both, peers, |peer| peer.active.get(), None);
    let help = "Times that a member became disconnected.";
    let disconnected = ("etcd_network_disconnected_peers_total", "counter", help);
    page.numbers(disconnected, Label::Both, peers, |peer| count(peer.disconnected.get()), None);
    let sent = ("etcd_network_peer_sent_bytes_total", "counter", "Bytes sent to a member.");
    page.numbers(sent, Label::To, peers, |peer| count(peer.sent_bytes.get()), None);
    let help = "Messages to a member that were not sent.";
    let failed = ("etcd_network_peer_sent_failures_total", "counter", help);
    page.numbers(failed, Label::To, peers, |peer| count(peer.sent_failures.get()), None);
    let help = "Bytes received from a member.";
    let received = ("etcd_network_peer_received_bytes_total", "counter", help);
    page.numbers(received, Label::From, all, |peer| count(peer.received_bytes.get()), None);
    let help = "Messages of a member that were not received.";
    let failed = ("etcd_network_peer_received_failures_total", "counter", help);
    let unknown = Some(("From=\"unknown\"", stats.unknown_received_failures.get()));
    page.numbers(failed, Label::From, peers, |peer| count(peer.received_failures.get()), unknown);
    let round_trip = ("etcd_network_peer_round_trip_time_seconds", "Round trips to a member.");
    page.histogram(round_trip, Label::To, peers, |peer| peer.round_trip.read());
}

fn snapshots(page: &mut Page, peers: &Peers, stats: &Stats) {
    let help = "Stores that are being sent.";
    let inflight = ("etcd_network_snapshot_send_inflights_total", "gauge", help);
    page.numbers(inflight, Label::To, peers, |peer| peer.snapshot_send_inflight.get(), None);
    let sent = ("etcd_network_snapshot_send_success", "counter", "Stores that were sent.");
    page.numbers(sent, Label::To, peers, |peer| count(peer.snapshot_send_success.get()), None);
    let help = "Stores that were not sent to their end.";
    let failed = ("etcd_network_snapshot_send_failures", "counter", help);
    page.numbers(failed, Label::To, peers, |peer| count(peer.snapshot_send_failures.get()), None);
    let took = ("etcd_network_snapshot_send_total_duration_seconds", "Time of sending a store.");
    page.histogram(took, Label::To, peers, |peer| peer.snapshot_send_took.read());
    let help = "Stores that are being received.";
    let inflight = ("etcd_network_snapshot_receive_inflights_total", "gauge", help);
    page.numbers(inflight, Label::From, peers, |peer| peer.snapshot_receive_inflight.get(), None);
    let help = "Stores that were received.";
    let received = ("etcd_network_snapshot_receive_success", "counter", help);
    let value = |peer: &PeerStats| count(peer.snapshot_receive_success.get());
    page.numbers(received, Label::From, peers, value, None);
    let help = "Stores that were not received to their end.";
    let failed = ("etcd_network_snapshot_receive_failures", "counter", help);
    let unknown = ("From=\"UNKNOWN_SNAPSHOT_SENDER\"", stats.unknown_snapshot_failures.get());
    let value = |peer: &PeerStats| count(peer.snapshot_receive_failures.get());
    page.numbers(failed, Label::From, peers, value, Some(unknown));
    let help = "Time of receiving a store.";
    let took = ("etcd_network_snapshot_receive_total_duration_seconds", help);
    page.histogram(took, Label::From, peers, |peer| peer.snapshot_receive_took.read());
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn series_have_the_names_and_labels_of_etcd() {
        let stats = Stats::default();
        let peer = stats.peer(MemberId(0xab));
        peer.active.add(1);
        peer.sent_bytes.add(12);
        peer.round_trip.observe(Duration::from_millis(1));
        stats.peer(MemberId(0)).received_bytes.add(3);
        stats.unknown_snapshot_failures.add(2);
        let text = page(MemberId(1), &[MemberId(0xab)], &stats);
        for line in [
            "# TYPE etcd_network_active_peers gauge",
            "etcd_network_active_peers{Local=\"1\",Remote=\"ab\"} 1",
            "etcd_network_known_peers{Local=\"1\",Remote=\"ab\"} 1",
            "etcd_network_disconnected_peers_total{Local=\"1\",Remote=\"ab\"} 0",
            "etcd_network_peer_sent_bytes_total{To=\"ab\"} 12",
            "etcd_network_peer_sent_failures_total{To=\"ab\"} 0",
            "etcd_network_peer_received_bytes_total{From=\"0\"} 3",
            "etcd_network_peer_received_failures_total{From=\"ab\"} 0",
            "etcd_network_peer_round_trip_time_seconds_bucket{To=\"ab\",le=\"0.0016\"} 1",
            "etcd_network_peer_round_trip_time_seconds_bucket{To=\"ab\",le=\"+Inf\"} 1",
            "etcd_network_peer_round_trip_time_seconds_sum{To=\"ab\"} 0.001",
            "etcd_network_snapshot_send_success{To=\"ab\"} 0",
            "etcd_network_snapshot_send_failures{To=\"ab\"} 0",
            "etcd_network_snapshot_send_inflights_total{To=\"ab\"} 0",
            "etcd_network_snapshot_send_total_duration_seconds_count{To=\"ab\"} 0",
            "etcd_network_snapshot_receive_success{From=\"ab\"} 0",
            "etcd_network_snapshot_receive_failures{From=\"UNKNOWN_SNAPSHOT_SENDER\"} 2",
            "etcd_network_snapshot_receive_inflights_total{From=\"ab\"} 0",
            "etcd_network_snapshot_receive_total_duration_seconds_count{From=\"ab\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("Remote=\"0\""));
    }
}
