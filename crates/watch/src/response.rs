//! Deliveries as responses of the Watch service, whole or in fragments.

use api::etcdserverpb::{ResponseHeader, WatchResponse};
use prost::{Message, encoding::encoded_len_varint};

use crate::delivery::Delivery;

/// The response for a delivery. Its header has the revision alone: the service fills in the ids.
pub fn response(delivery: Delivery) -> WatchResponse {
    match delivery {
        Delivery::Events { watch_id, header_revision, events, .. } => WatchResponse {
            header: header(header_revision),
            watch_id,
            events: events.to_vec(),
            ..WatchResponse::default()
        },
        // etcd leaves the revision of this header 0, and gives no reason.
        Delivery::Compacted { watch_id, compact_revision } => WatchResponse {
            header: header(0),
            watch_id,
            canceled: true,
            compact_revision,
            ..WatchResponse::default()
        },
        Delivery::Progress { watch_id, revision } => {
            WatchResponse { header: header(revision), watch_id, ..WatchResponse::default() }
        }
    }
}

fn header(revision: i64) -> Option<ResponseHeader> {
    Some(ResponseHeader { revision, ..ResponseHeader::default() })
}

/// Splits a response so that each part is smaller than `limit_bytes`, an event that is larger by
/// itself excepted. All parts but the last say `fragment`. For watchers that accept fragments.
pub fn fragment(response: WatchResponse, limit_bytes: usize) -> Vec<WatchResponse> {
    if response.encoded_len() < limit_bytes || response.events.len() < 2 {
        return vec![response];
    }
    let events = response.events;
    let empty = WatchResponse { events: Vec::new(), fragment: true, ..response };
    let bytes_empty = empty.encoded_len();
    let mut parts = Vec::new();
    let mut part = empty.clone();
    let mut bytes = bytes_empty;
    for event in events {
        let bytes_event = event.encoded_len();
        let bytes_field = 1 + encoded_len_varint(bytes_event as u64) + bytes_event;
        if !part.events.is_empty() && bytes + bytes_field >= limit_bytes {
            parts.push(std::mem::replace(&mut part, empty.clone()));
            bytes = bytes_empty;
        }
        part.events.push(event);
        bytes += bytes_field;
    }
    part.fragment = false;
    parts.push(part);
    parts
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use api::{kv::KeyValue, mvccpb};

    use super::*;

    fn event(value_bytes: usize) -> mvccpb::Event {
        let value = vec![b'v'; value_bytes].into();
        let kv = KeyValue { key: "k".into(), value, mod_revision: 2, ..KeyValue::default() };
        mvccpb::Event { kv: Some(kv.to_raw()), ..mvccpb::Event::default() }
    }

    fn events(sizes: &[usize]) -> WatchResponse {
        let events: Arc<[_]> = sizes.iter().map(|size| event(*size)).collect();
        response(Delivery::Events { watch_id: 3, header_revision: 9, events, fragment: true })
    }

    /// Splits a response with events of these value sizes; returns the sizes of each part.
    #[track_caller]
    fn check(sizes: &[usize], limit_bytes: usize, expected: &[&[usize]]) {
        let whole = events(sizes);
        let parts = fragment(whole.clone(), limit_bytes);
        let lengths = |part: &WatchResponse| -> Vec<usize> {
            let kv = |event: &mvccpb::Event| event.kv.as_ref().unwrap().decode().unwrap();
            part.events.iter().map(|event| kv(event).value.len()).collect()
        };
        assert_eq!(parts.iter().map(lengths).collect::<Vec<_>>(), expected);
        for (at, part) in parts.iter().enumerate() {
            assert_eq!(part.fragment, at + 1 < parts.len());
            assert_eq!((&part.header, part.watch_id), (&whole.header, 3));
            assert!(part.encoded_len() < limit_bytes || part.events.len() == 1 || at == 0);
        }
    }

    #[test]
    fn parts_are_as_large_as_the_limit_lets_them_be() {
        check(&[10, 10, 10], 1000, &[&[10, 10, 10]]);
        check(&[100, 100, 100], 230, &[&[100], &[100], &[100]]);
        check(&[100, 100, 100], 231, &[&[100, 100], &[100]]);
        check(&[500, 1, 1, 1, 500], 200, &[&[500], &[1, 1, 1], &[500]]);
    }

    #[test]
    fn one_event_is_never_split() {
        check(&[500], 100, &[&[500]]);
        check(&[500, 600], 1, &[&[500], &[600]]);
    }

    #[test]
    fn a_compaction_notice_has_revision_0_and_no_reason() {
        let notice = response(Delivery::Compacted { watch_id: 4, compact_revision: 7 });
        assert!(notice.canceled && !notice.created && notice.cancel_reason.is_empty());
        assert_eq!((notice.watch_id, notice.compact_revision), (4, 7));
        assert_eq!(notice.header, header(0));
    }

    #[test]
    fn progress_is_an_empty_response() {
        let notice = response(Delivery::Progress { watch_id: -1, revision: 7 });
        assert_eq!(notice, WatchResponse { header: header(7), watch_id: -1, ..Default::default() });
    }
}
