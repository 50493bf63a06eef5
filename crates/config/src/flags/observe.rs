//! Flags of metrics, the log and traces.

use super::{Flag, Group, Kind, rows};
use crate::compat::Status;

pub(super) const MONITORING: &[Flag] = rows! { Group::Monitoring;
    "enable-pprof", Kind::Bool(|c| &mut c.enable_pprof), Status::Built("processor time by function, memory by part of the process, threads for goroutines; no execution trace"),
    "Serve profiles below /debug/pprof/ of the client URLs.";
    "metrics", Kind::Text(|c| &mut c.metrics),
    Status::Built(""),
    "Detail of the metrics: basic, or extensive with a histogram of request times.";
    "listen-metrics-urls", Kind::Urls(|c| &mut c.listen_metrics_urls, ""),
    Status::Built(""),
    "URLs on which to listen for metrics and health only.";
};

pub(super) const LOGGING: &[Flag] = rows! { Group::Logging;
    "logger", Kind::Text(|c| &mut c.log.logger), Status::Built(""),
    "Kind of log: zap, the only one there is.";
    "log-outputs", Kind::UniqueWords(|c| &mut c.log.outputs),
    Status::Built(""),
    "Where the log goes, separated by commas: default, stderr, stdout, systemd/journal or files.";
    "log-level", Kind::Text(|c| &mut c.log.level), Status::Built(""),
    "Lowest level that is logged: debug, info, warn, error, panic or fatal.";
    "log-format", Kind::Text(|c| &mut c.log.format), Status::Built(""),
    "Form of a log line: json or console.";
    "enable-log-rotation", Kind::Bool(|c| &mut c.log.rotation), Status::Built(""),
    "Rotate the log's file.";
    "log-rotation-config-json", Kind::Text(|c| &mut c.log.rotation_json),
    Status::Built(""),
    "Options of rotation as JSON: maxsize (MB), maxage (days), maxbackups, localtime, compress.";
    "warning-unary-request-duration",
    Kind::Duration(|c| &mut c.warning_unary_request_duration),
    Status::Built(""),
    "A request that takes longer is logged.";
};

pub(super) const TRACING: &[Flag] = rows! { Group::Tracing;
    "enable-distributed-tracing", Kind::Bool(|c| &mut c.tracing.enabled),
    Status::Built(""),
    "Send traces to a collector.";
    "distributed-tracing-address", Kind::Text(|c| &mut c.tracing.address),
    Status::Built(""),
    "Address of the collector.";
    "distributed-tracing-service-name", Kind::Text(|c| &mut c.tracing.service_name),
    Status::Built(""),
    "Name of the service in traces, one for all members.";
    "distributed-tracing-instance-id", Kind::Text(|c| &mut c.tracing.instance_id),
    Status::Built(""),
    "Name of this member in traces.";
    "distributed-tracing-sampling-rate", Kind::Int("int", |c| &mut c.tracing.sampling_rate),
    Status::Built(""),
    "Traces sent out of a million.";
};
