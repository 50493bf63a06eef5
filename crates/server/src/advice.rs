//! What etcd warns of in settings that it takes all the same.

use std::time::Duration;

use config::{Config, GoDuration};

use crate::services::human_bytes;

/// The largest proposal that is recommended.
const REQUEST_BYTES: u64 = 10 << 20;
/// The largest quota that is recommended.
const QUOTA_BYTES: i64 = 8 << 30;
/// How often watchers may be told of progress.
const PROGRESS_INTERVAL_MIN: Duration = Duration::from_millis(100);

/// Says what is unwise in the configuration.
pub(crate) fn warn(config: &Config) {
    if config.max_request_bytes > REQUEST_BYTES {
        tracing::warn!(
            "max-request-bytes" = config.max_request_bytes,
            "max-request-size" = %human_bytes(config.max_request_bytes),
            "recommended-request-bytes" = REQUEST_BYTES,
            "recommended-request-size" = "10 MB",
            "exceeded recommended request limit"
        );
    }
    if config.quota_backend_bytes > QUOTA_BYTES {
        tracing::warn!(
            "quota-name" = "v3-applier",
            "quota-size-bytes" = config.quota_backend_bytes,
            "quota-size" = %human_bytes(config.quota_backend_bytes.unsigned_abs()),
            "quota-maximum-size-bytes" = QUOTA_BYTES,
            "quota-maximum-size" = %human_bytes(QUOTA_BYTES.unsigned_abs()),
            "quota exceeds the maximum value"
        );
    }
    let interval = config.watch_progress_notify_interval.to_std();
    if !interval.is_zero() && interval < PROGRESS_INTERVAL_MIN {
        let least = GoDuration::from(PROGRESS_INTERVAL_MIN);
        tracing::warn!(
            "min-watch-progress-notify-interval" = %least,
            "adjusting watch progress notify interval to minimum period"
        );
    }
}
