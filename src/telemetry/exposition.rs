//! The text that Prometheus and other collectors read: families of samples, as OpenMetrics 1.0 and as the older text format of
//! Prometheus.
//!
//! Source: <https://prometheus.io/docs/specs/om/open_metrics_spec/>, and the text format 0.0.4 of Prometheus.

use std::fmt::Write;

/// One of the two text formats.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum MetricsFormat {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// The text format 0.0.4 of Prometheus.
    Prometheus,
}

/// What the samples of a family are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum FamilyKind {
    /// Never falls while the process runs.
    Counter,
    Gauge,
    Histogram,
    /// Labels beside the number one.
    Info,
}

/// Samples with one name and one meaning.
#[derive(Clone, Copy, Debug)]
pub(super) struct Family {
    /// Without the suffix of its samples; ends with the unit, where it has one.
    pub(super) name: &'static str,
    pub(super) kind: FamilyKind,
    /// Empty where the samples are counts of things.
    pub(super) unit: &'static str,
    pub(super) help: &'static str,
}

/// A sample's value, without floating point.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum MetricValue {
    Count(u64),
    /// Shown in seconds.
    Micros(u64),
}

/// A label's name and value.
pub(super) type MetricLabel<'a> = (&'static str, &'a str);

/// Writes families one after the other.
pub(super) struct Exposition {
    text: String,
    format: MetricsFormat,
    family: Option<Family>,
}

impl MetricsFormat {
    /// The media type, with its version.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// The format that an Accept header prefers; OpenMetrics where it names neither, or there is none.
    ///
    /// - **Source**: RFC 9110, 12.5.1. Parameters other than `q` are not compared.
    pub fn accepted(header: &str) -> Self {
        let weight = |media: &str| {
            let mut ranges = header.split(',').map(|range| range.split(';').map(str::trim));
            let found = ranges.find_map(|mut parts| {
                let is_named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(media));
                is_named.then(|| thousandths(parts.find_map(|part| part.strip_prefix("q="))))
            });
            found.unwrap_or(0)
        };
        let open_metrics = weight("application/openmetrics-text");
        match weight("text/plain") > open_metrics {
            true => Self::Prometheus,
            false => Self::OpenMetrics,
        }
    }
}

/// A weight of an Accept header in thousandths; 1 where there is none, 0 where it is unreadable.
fn thousandths(weight: Option<&str>) -> u32 {
    let Some(weight) = weight else { return 1000 };
    let (whole, fraction) = weight.split_once('.').unwrap_or((weight, ""));
    let digits: String = fraction.chars().chain("000".chars()).take(3).collect();
    match (whole.parse::<u32>(), digits.parse::<u32>()) {
        (Ok(whole), Ok(fraction)) => whole.saturating_mul(1000).saturating_add(fraction).min(1000),
        _ => 0,
    }
}

impl Exposition {
    pub(super) const fn new(format: MetricsFormat) -> Self {
        Self { text: String::new(), format, family: None }
    }

    /// Begins a family. Its samples follow.
    pub(super) fn family(&mut self, family: Family) {
        let Family { name, kind, unit, help } = family;
        debug_assert!(unit.is_empty() || name.ends_with(&format!("_{unit}")), "{name} ends with {unit}");
        let (named, kind) = match (self.format, kind) {
            (MetricsFormat::OpenMetrics, kind) => (name.to_owned(), kind.name()),
            (MetricsFormat::Prometheus, FamilyKind::Counter) => (format!("{name}_total"), "counter"),
            (MetricsFormat::Prometheus, FamilyKind::Info) => (format!("{name}_info"), "gauge"),
            (MetricsFormat::Prometheus, kind) => (name.to_owned(), kind.name()),
        };
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(self.text, "# TYPE {named} {kind}");
        if self.format == MetricsFormat::OpenMetrics && !unit.is_empty() {
            let _ = writeln!(self.text, "# UNIT {named} {unit}");
        }
        let _ = writeln!(self.text, "# HELP {named} {help}");
        self.family = Some(family);
    }

    /// A sample of the family.
    pub(super) fn sample(&mut self, labels: &[MetricLabel<'_>], value: MetricValue) {
        let suffix = match self.family.map(|family| family.kind) {
            Some(FamilyKind::Counter) => "_total",
            Some(FamilyKind::Info) => "_info",
            Some(FamilyKind::Gauge | FamilyKind::Histogram) | None => "",
        };
        self.named_sample(suffix, labels, value);
    }

    /// A family with one sample that has no labels.
    pub(super) fn single(&mut self, family: Family, value: MetricValue) {
        self.family(family);
        self.sample(&[], value);
    }

    /// The samples of a histogram without labels: the counts of its buckets, each with its upper bound in microseconds and not
    /// cumulated, with a last bucket that has no bound; and the sum of all observations.
    pub(super) fn histogram(&mut self, family: Family, buckets: (&[u64], &[u64]), sum: MetricValue) {
        self.family(family);
        let (bounds, counts) = buckets;
        let mut below = 0_u64;
        let bounds = bounds.iter().map(|bound| canonical(*bound)).chain(["+Inf".to_owned()]);
        for (bound, count) in bounds.zip(counts) {
            below = below.saturating_add(*count);
            self.named_sample("_bucket", &[("le", &bound)], MetricValue::Count(below));
        }
        self.named_sample("_sum", &[], sum);
        self.named_sample("_count", &[], MetricValue::Count(below));
    }

    fn named_sample(&mut self, suffix: &str, labels: &[MetricLabel<'_>], value: MetricValue) {
        let Some(family) = self.family else { return };
        let _ = write!(self.text, "{}{suffix}", family.name);
        let mut before = '{';
        for (name, value) in labels {
            let _ = write!(self.text, "{before}{name}=\"");
            escape(&mut self.text, value);
            self.text.push('"');
            before = ',';
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = match value {
            MetricValue::Count(count) => writeln!(self.text, " {count}"),
            MetricValue::Micros(micros) => {
                writeln!(self.text, " {}.{:06}", micros / 1_000_000, micros % 1_000_000)
            }
        };
    }

    /// The whole text.
    pub(super) fn end(mut self) -> String {
        if self.format == MetricsFormat::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

impl FamilyKind {
    const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Info => "info",
        }
    }
}

/// A label's value between its quotes. Nothing else ends a line or a value in either format.
fn escape(text: &mut String, value: &str) {
    for letter in value.chars() {
        match letter {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            letter => text.push(letter),
        }
    }
}

/// Microseconds as seconds in the form that OpenMetrics calls canonical: no zeros at the end but one after the point.
fn canonical(micros: u64) -> String {
    let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    let trimmed = text.trim_end_matches('0');
    if trimmed.ends_with('.') { format!("{trimmed}0") } else { trimmed.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOWS: Family = Family { name: "gqos_ends", kind: FamilyKind::Counter, unit: "", help: "Ended." };
    const BUILD: Family = Family { name: "gqos_build", kind: FamilyKind::Info, unit: "", help: "Build." };
    const WAIT: Family =
        Family { name: "gqos_wait_seconds", kind: FamilyKind::Histogram, unit: "seconds", help: "Waits." };

    fn text(format: MetricsFormat) -> String {
        let mut exposition = Exposition::new(format);
        exposition.family(FLOWS);
        exposition.sample(&[("cause", "a\\b\"c\nd"), ("interface", "eth0")], MetricValue::Count(3));
        exposition.family(BUILD);
        exposition.sample(&[("version", "1")], MetricValue::Count(1));
        exposition.histogram(WAIT, (&[500, 1_000_000], &[1, 2, 4]), MetricValue::Micros(7_000_001));
        exposition.end()
    }

    #[test]
    fn both_formats_write_the_same_samples() {
        let samples = "gqos_wait_seconds_bucket{le=\"0.0005\"} 1\ngqos_wait_seconds_bucket{le=\"1.0\"} 3\n\
            gqos_wait_seconds_bucket{le=\"+Inf\"} 7\ngqos_wait_seconds_sum 7.000001\ngqos_wait_seconds_count 7\n";
        let ends = "gqos_ends_total{cause=\"a\\\\b\\\"c\\nd\",interface=\"eth0\"} 3\n";
        let open_metrics = format!(
            "# TYPE gqos_ends counter\n# HELP gqos_ends Ended.\n{ends}# TYPE gqos_build info\n# HELP gqos_build Build.\n\
             gqos_build_info{{version=\"1\"}} 1\n# TYPE gqos_wait_seconds histogram\n# UNIT gqos_wait_seconds seconds\n\
             # HELP gqos_wait_seconds Waits.\n{samples}# EOF\n"
        );
        assert_eq!(text(MetricsFormat::OpenMetrics), open_metrics);
        let prometheus = format!(
            "# TYPE gqos_ends_total counter\n# HELP gqos_ends_total Ended.\n{ends}# TYPE gqos_build_info gauge\n\
             # HELP gqos_build_info Build.\ngqos_build_info{{version=\"1\"}} 1\n# TYPE gqos_wait_seconds histogram\n\
             # HELP gqos_wait_seconds Waits.\n{samples}"
        );
        assert_eq!(text(MetricsFormat::Prometheus), prometheus);
    }

    #[track_caller]
    fn check(accept: &str, expected: MetricsFormat) {
        assert_eq!(MetricsFormat::accepted(accept), expected, "{accept:?}");
    }

    #[test]
    fn the_accept_header_chooses_the_format() {
        use MetricsFormat::{OpenMetrics, Prometheus};
        check("", OpenMetrics);
        check("*/*", OpenMetrics);
        check("text/plain", Prometheus);
        check("text/plain;version=0.0.4;q=0.3, */*;q=0.2", Prometheus);
        // Prometheus 2.42.
        let scrape = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        check(scrape, OpenMetrics);
        check("application/openmetrics-text;q=0.2, text/plain;q=0.9", Prometheus);
        check("Text/Plain; q=0.5, Application/OpenMetrics-Text; q=0.25", Prometheus);
        check("text/plain;q=x, application/openmetrics-text", OpenMetrics);
    }
}
