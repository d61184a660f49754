//! Metrics for Prometheus: what is told, and its text.
//!
//! They are read from where the engine keeps the numbers anyway, so nothing is counted twice, and two engines in one process do
//! not mix theirs. The table of families is the page, the answer and the reference at once.

mod page;

pub(crate) use page::{Kind, Page};

use crate::activity::{Protocol, State};
use crate::engine::Inner;
use crate::follow::Progress;
use crate::home::name_of;
use crate::sources::Health;
use datafusion::execution::memory_pool::MemoryLimit;
use std::sync::atomic::Ordering;

/// One metric with all its labels.
pub(crate) struct Family {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) labels: &'static [&'static str],
    pub(crate) doc: &'static str,
    read: fn(&Inner, &mut Page),
}

const fn family(
    name: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    doc: &'static str,
    read: fn(&Inner, &mut Page),
) -> Family {
    Family { name, kind, labels, doc, read }
}

/// The media type of the text.
pub(crate) const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

const PROTOCOL: &[&str] = &["protocol"];
const CATALOG: &[&str] = &["catalog"];
const SHARD: &[&str] = &["shard"];

/// Every metric.
pub(crate) const FAMILIES: &[Family] = &[
    family("polder_build_info", Kind::Gauge, &["version"], "Always 1; its label says which Polder runs.", |_, page| {
        page.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    }),
    family(
        "polder_statements_total",
        Kind::Counter,
        &["protocol", "outcome"],
        "Statements that have ended: done, failed, or cancelled by their client or by KILL QUERY.",
        |engine, page| {
            for protocol in Protocol::ALL {
                for state in State::ENDS {
                    let ended = engine.activity.totals(protocol).ended(state);
                    page.sample(&[("protocol", protocol.as_str()), ("outcome", state.as_str())], ended as f64);
                }
            }
        },
    ),
    family("polder_statements_running", Kind::Gauge, PROTOCOL, "Statements that run now.", |engine, page| {
        each_protocol(page, |protocol| engine.activity.running(protocol) as f64);
    }),
    family(
        "polder_statement_duration_seconds",
        Kind::Histogram,
        PROTOCOL,
        "How long statements took, from their arrival to the last row that was given.",
        |engine, page| {
            for protocol in Protocol::ALL {
                let durations = engine.activity.totals(protocol).durations.read();
                page.histogram(&[("protocol", protocol.as_str())], &durations);
            }
        },
    ),
    family("polder_result_rows_total", Kind::Counter, PROTOCOL, "Rows that were given to clients.", |engine, page| {
        each_protocol(page, |protocol| engine.activity.totals(protocol).rows.load(Ordering::Relaxed) as f64);
    }),
    family(
        "polder_result_bytes_total",
        Kind::Counter,
        PROTOCOL,
        "Bytes of these rows in memory, before they were written in the client's format.",
        |engine, page| {
            each_protocol(page, |protocol| engine.activity.totals(protocol).bytes.load(Ordering::Relaxed) as f64);
        },
    ),
    family("polder_connections", Kind::Gauge, PROTOCOL, "Connections that are open now.", |engine, page| {
        for protocol in Protocol::SERVED {
            let open = engine.activity.totals(protocol).connections.load(Ordering::Relaxed);
            page.sample(&[("protocol", protocol.as_str())], open as f64);
        }
    }),
    family(
        "polder_connections_limit",
        Kind::Gauge,
        PROTOCOL,
        "Connections that one listener serves at once; more wait.",
        |engine, page| {
            for protocol in Protocol::SERVED {
                page.sample(&[("protocol", protocol.as_str())], engine.config.server.connections() as f64);
            }
        },
    ),
    family(
        "polder_connections_total",
        Kind::Counter,
        PROTOCOL,
        "Connections that were ever opened.",
        |engine, page| {
            for protocol in Protocol::SERVED {
                let opened = engine.activity.totals(protocol).connected.load(Ordering::Relaxed);
                page.sample(&[("protocol", protocol.as_str())], opened as f64);
            }
        },
    ),
    family(
        "polder_source_requests_total",
        Kind::Counter,
        CATALOG,
        "Requests to a source: descriptions of its tables, and streams of rows.",
        |engine, page| each_source(engine, page, |health| health.requests() as f64),
    ),
    family(
        "polder_source_errors_total",
        Kind::Counter,
        CATALOG,
        "Requests to a source that failed, also those that it answered with an error.",
        |engine, page| each_source(engine, page, |health| health.errors() as f64),
    ),
    family(
        "polder_source_failing",
        Kind::Gauge,
        CATALOG,
        "1 if the source could not be reached when it was asked last, else 0.",
        |engine, page| each_source(engine, page, |health| if health.is_failing() { 1.0 } else { 0.0 }),
    ),
    family(
        "polder_source_request_duration_seconds",
        Kind::Histogram,
        CATALOG,
        "How long a source took to answer, or to begin its answer.",
        |engine, page| {
            for (name, attached) in &engine.catalogs().attached {
                page.histogram(&[("catalog", name)], &attached.health.latency.read());
            }
        },
    ),
    family(
        "polder_memory_used_bytes",
        Kind::Gauge,
        &[],
        "Memory that queries hold of the pool for sorting, joining and grouping.",
        |engine, page| page.sample(&[], engine.runtime.memory_pool.reserved() as f64),
    ),
    family("polder_memory_limit_bytes", Kind::Gauge, &[], "The size of this pool.", |engine, page| {
        if let MemoryLimit::Finite(bytes) = engine.runtime.memory_pool.memory_limit() {
            page.sample(&[], bytes as f64);
        }
    }),
    family(
        "polder_log_entries_total",
        Kind::Counter,
        SHARD,
        "Entries that a shard of the log has ever taken.",
        |engine, page| each_shard(engine, page, |shard| shard.end().entries.0 as f64),
    ),
    family(
        "polder_log_end_offset",
        Kind::Gauge,
        SHARD,
        "The end of a shard: the offset of its next record.",
        |engine, page| {
            each_shard(engine, page, |shard| shard.end().offset.0 as f64);
        },
    ),
    family("polder_log_syncs_total", Kind::Counter, SHARD, "Syncs of a shard to its disk.", |engine, page| {
        each_shard(engine, page, |shard| shard.sync_count() as f64);
    }),
    family("polder_log_stored_bytes", Kind::Gauge, SHARD, "Bytes that a shard takes on its disk.", |engine, page| {
        each_shard(engine, page, |shard| shard.stored_bytes() as f64);
    }),
    family(
        "polder_checkpoint_lag_records",
        Kind::Gauge,
        SHARD,
        "Records behind the newest checkpoint of the tables: so many are read again when the engine is opened.",
        |engine, page| {
            let Some(log) = engine.commit.opened() else { return };
            for (home, reached) in engine.checkpoints.positions() {
                if let Some(shard) = log.shard(&name_of(home)) {
                    let lag = shard.end().offset.0.saturating_sub(reached);
                    page.sample(&[("shard", shard.name())], lag as f64);
                }
            }
        },
    ),
    family(
        "polder_follower_lag_entries",
        Kind::Gauge,
        CATALOG,
        "Entries of the log that a catalog which follows it has not got yet.",
        |engine, page| each_follower(engine, page, |lag| lag.entries as f64),
    ),
    family(
        "polder_follower_lag_seconds",
        Kind::Gauge,
        CATALOG,
        "How much older than the newest entry of the log the last one is that the catalog has got.",
        |engine, page| each_follower(engine, page, |lag| lag.seconds),
    ),
    family(
        "polder_follower_stalled",
        Kind::Gauge,
        CATALOG,
        "1 if the catalog does not follow the log any more, else 0; `polder.system.freshness` says why.",
        |engine, page| each_follower(engine, page, |lag| if lag.is_stalled { 1.0 } else { 0.0 }),
    ),
    family(
        "polder_dead_letters",
        Kind::Gauge,
        &[],
        "Effects of procedures that could not be done; `polder.system.dead_letters` lists them.",
        |engine, page| page.sample(&[], engine.commit.effects().dead().len() as f64),
    ),
];

/// All metrics as they are now.
pub(crate) fn text(engine: &Inner) -> String {
    let mut page = Page::default();
    for family in FAMILIES {
        page.begin(family);
        (family.read)(engine, &mut page);
    }
    page.finish()
}

fn each_protocol(page: &mut Page, value: impl Fn(Protocol) -> f64) {
    for protocol in Protocol::ALL {
        page.sample(&[("protocol", protocol.as_str())], value(protocol));
    }
}

fn each_source(engine: &Inner, page: &mut Page, value: impl Fn(&Health) -> f64) {
    for (name, attached) in &engine.catalogs().attached {
        page.sample(&[("catalog", name)], value(&attached.health));
    }
}

fn each_shard(engine: &Inner, page: &mut Page, value: impl Fn(&polder_log::store::Shard) -> f64) {
    let shards = engine.commit.opened().map(|log| log.shards()).unwrap_or_default();
    for shard in shards {
        page.sample(&[("shard", shard.name())], value(&shard));
    }
}

/// How far a follower is behind.
struct Lag {
    entries: u64,
    seconds: f64,
    is_stalled: bool,
}

/// A follower that has not begun yet has no lag that could be told.
fn each_follower(engine: &Inner, page: &mut Page, value: impl Fn(&Lag) -> f64) {
    let Some(end) = engine.commit.opened().map(|log| log.main().end()) else { return };
    for (catalog, progress) in engine.followers.progress() {
        let (at, is_stalled) = match progress {
            Progress::Starting => continue,
            Progress::At(at) => (at, false),
            Progress::Stalled { at, .. } => (at, true),
        };
        let (entries, seconds) = match engine.followers.looked_at(&catalog) {
            Some((entries, time)) if at.0 < end.offset.0 => {
                let micros = end.time.0.saturating_sub(time.0);
                (end.entries.0.saturating_sub(entries), micros.unsigned_abs() as f64 / 1e6)
            }
            _ => (0, 0.0),
        };
        page.sample(&[("catalog", &catalog)], value(&Lag { entries, seconds, is_stalled }));
    }
}
