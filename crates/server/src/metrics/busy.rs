//! The histograms of the busiest requests, found again without hashing labels.

use std::sync::OnceLock;

use prometheus::{Histogram, HistogramVec};

const NAMES: [&str; 5] = ["Put", "Txn", "Range", "DeleteRange", "ReadonlyTxn"];

/// Histograms by request and success of one vector. A series is there from its first use on.
#[derive(Default)]
pub(crate) struct Busy([[OnceLock<Histogram>; 2]; NAMES.len()]);

impl Busy {
    /// The histogram of `name` in `of`, whose labels for it are `labels`.
    pub(crate) fn observe(
        &self,
        of: &HistogramVec,
        name: &str,
        success: bool,
        labels: &[&str],
        seconds: f64,
    ) {
        match NAMES.iter().position(|busy| *busy == name) {
            None => of.with_label_values(labels).observe(seconds),
            Some(at) => self.0[at][usize::from(success)]
                .get_or_init(|| of.with_label_values(labels))
                .observe(seconds),
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus::HistogramOpts;

    use super::*;

    #[test]
    fn every_request_is_counted_under_its_labels() {
        let vec = HistogramVec::new(HistogramOpts::new("a", "b"), &["type", "success"]).unwrap();
        let busy = Busy::default();
        for (name, success) in [("Put", true), ("Put", true), ("Put", false), ("Alarm", true)] {
            let text = if success { "true" } else { "false" };
            busy.observe(&vec, name, success, &[name, text], 0.5);
        }
        let count = |labels: &[&str]| vec.with_label_values(labels).get_sample_count();
        assert_eq!(count(&["Put", "true"]), 2);
        assert_eq!(count(&["Put", "false"]), 1);
        assert_eq!(count(&["Alarm", "true"]), 1);
    }
}
