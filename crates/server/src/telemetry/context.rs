//! The caller's trace: W3C Trace Context, level 1 (`traceparent`, `tracestate`).

use http::HeaderMap;

/// What a caller says of the trace that its call belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Parent {
    /// The trace.
    pub(super) trace: [u8; 16],
    /// The caller's span; `None` for a trace that begins here.
    pub(super) span: Option<[u8; 8]>,
    /// Whether the caller records it.
    pub(super) sampled: bool,
    /// What systems on the way have to say, carried on as it is.
    pub(super) state: String,
}

/// The bits of the flags that version 0 knows.
const KNOWN_FLAGS: u8 = 3;
const SAMPLED: u8 = 1;
/// More than this of `tracestate` is not carried.
const STATE_BYTES_MAX: usize = 512;

impl Parent {
    /// Reads the headers of a call; one that is not well formed says nothing.
    pub(super) fn read(headers: &HeaderMap) -> Option<Parent> {
        let text = headers.get("traceparent")?.to_str().ok()?;
        let mut parts = text.split('-');
        let [version] = hex(parts.next()?)?;
        let trace: [u8; 16] = hex(parts.next()?)?;
        let span: [u8; 8] = hex(parts.next()?)?;
        let [flags] = hex(parts.next()?)?;
        let whole = parts.next().is_none() && flags <= KNOWN_FLAGS;
        if version == 0xff || (version == 0 && !whole) || trace == [0; 16] || span == [0; 8] {
            return None;
        }
        let state = headers.get("tracestate").and_then(|state| state.to_str().ok());
        let state = state.filter(|state| state.len() <= STATE_BYTES_MAX).unwrap_or_default();
        let sampled = flags & SAMPLED != 0;
        Some(Parent { trace, span: Some(span), sampled, state: state.to_owned() })
    }
}

/// Exactly `N` bytes of lower-case hexadecimal digits.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Parent> {
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", text.parse().unwrap());
        headers.insert("tracestate", "a=b".parse().unwrap());
        Parent::read(&headers)
    }

    #[test]
    fn a_traceparent_is_read_as_the_recommendation_says() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let parent = read(good).unwrap();
        assert_eq!((parent.trace[0], parent.trace[15]), (0x0a, 0x9c));
        assert_eq!(parent.span.unwrap()[0], 0xb7);
        assert!(parent.sampled && parent.state == "a=b");
        assert!(!read(&good.replace("-01", "-00")).unwrap().sampled);
        assert!(read(&good.replace("00-0a", "01-0a").replace("-01", "-01-more")).is_some());
        for bad in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-09",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
