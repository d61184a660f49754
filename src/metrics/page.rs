//! Prometheus' text format, version 0.0.4.

use super::Family;
use crate::histogram::{BOUNDS_MICROS, Distribution};
use std::fmt::Write;

/// What the numbers of a metric do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// They only grow.
    Counter,
    /// They go up and down.
    Gauge,
    /// Counts by upper bounds.
    Histogram,
}

impl Kind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A page that is being written.
#[derive(Debug, Default)]
pub(crate) struct Page {
    text: String,
    name: &'static str,
}

impl Page {
    /// From here on samples are of this metric.
    pub(crate) fn begin(&mut self, family: &Family) {
        self.name = family.name;
        // A newline or a backslash would have to be escaped here; the texts have none.
        let _ = writeln!(self.text, "# HELP {} {}", family.name, family.doc);
        let _ = writeln!(self.text, "# TYPE {} {}", family.name, family.kind.as_str());
    }

    pub(crate) fn sample(&mut self, labels: &[(&str, &str)], value: f64) {
        self.line("", labels, value);
    }

    /// The bounds of Prometheus' buckets are upper ones, and each bucket has all that is in those below it.
    pub(crate) fn histogram(&mut self, labels: &[(&str, &str)], distribution: &Distribution) {
        let bounds = BOUNDS_MICROS.iter().map(|bound| (*bound as f64 / 1e6).to_string()).chain(["+Inf".to_string()]);
        let mut count = 0;
        for (bound, in_bucket) in bounds.zip(&distribution.buckets) {
            count += in_bucket;
            let labels: Vec<_> = labels.iter().copied().chain([("le", bound.as_str())]).collect();
            self.line("_bucket", &labels, count as f64);
        }
        self.line("_sum", labels, distribution.sum_micros as f64 / 1e6);
        self.line("_count", labels, count as f64);
    }

    pub(crate) fn finish(self) -> String {
        self.text
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], value: f64) {
        let (text, name) = (&mut self.text, self.name);
        let _ = write!(text, "{name}{suffix}");
        for (at, (label, value)) in labels.iter().enumerate() {
            let _ = write!(text, "{}{label}=\"{}\"", if at == 0 { '{' } else { ',' }, escaped(value));
        }
        let _ = writeln!(text, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::Histogram;
    use crate::metrics::FAMILIES;
    use std::time::Duration;

    #[test]
    fn labels_are_escaped_and_buckets_add_up() {
        let mut page = Page { text: String::new(), name: "m" };
        page.sample(&[], 0.5);
        page.sample(&[("a", "x\\y\"z\n"), ("b", "")], 3.0);
        let histogram = Histogram::default();
        [1, 2, 7_000_000].into_iter().for_each(|millis| histogram.record(Duration::from_millis(millis)));
        page.histogram(&[("a", "x")], &histogram.read());
        let text = page.finish();
        assert!(text.starts_with("m 0.5\nm{a=\"x\\\\y\\\"z\\n\",b=\"\"} 3\n"), "{text}");
        for line in [
            "m_bucket{a=\"x\",le=\"0.0005\"} 0",
            "m_bucket{a=\"x\",le=\"0.001\"} 1",
            "m_bucket{a=\"x\",le=\"600\"} 2",
            "m_bucket{a=\"x\",le=\"+Inf\"} 3",
            "m_sum{a=\"x\"} 7000.003",
            "m_count{a=\"x\"} 3",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }

    #[test]
    fn texts_need_no_escapes_and_names_are_unique() {
        for (at, family) in FAMILIES.iter().enumerate() {
            assert!(!family.doc.contains(['\\', '\n']), "{}", family.name);
            assert!(FAMILIES[..at].iter().all(|other| other.name != family.name), "{}", family.name);
        }
    }
}
