//! What a scrape asks for.

use percent_encoding::percent_decode_str;
use regex_automata::meta;

use crate::stats::schema::Kind;

/// The parameters of `/stats`; the default is plain `/stats`.
#[derive(Debug, Clone, Default)]
pub struct Query {
    pub format: Format,
    /// `usedonly`: only what was ever written, zero or not.
    pub used_only: bool,
    /// `filter`: found anywhere in the full name.
    pub filter: Option<meta::Regex>,
    /// `invert_filter`: shows what the filter does not find.
    pub invert_filter: bool,
    /// `type`; `None` is `All`. Prometheus output is of all types always.
    pub kind: Option<Kind>,
    /// `histogram_buckets`
    pub histogram_buckets: Option<Buckets>,
    /// `text_readouts`: shows texts in Prometheus output too, as gauges of value 0.
    pub text_readouts: bool,
}

/// `format`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    #[default]
    Text,
    Json,
    Prometheus,
}

/// `histogram_buckets`: how histograms are shown. Absent means percentiles, or buckets for Prometheus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Buckets {
    Cumulative,
    Disjoint,
    Detailed,
    Summary,
}

impl Query {
    /// Parses what follows `?`, percent-encoded or, as pilot-agent sends its filters, raw; `prometheus` for the path
    /// `/stats/prometheus`. As in Envoy, unknown parameters are ignored, and of one given twice the first counts.
    ///
    /// # Errors
    /// The body of a 400 response, in Envoy's words where it has them.
    pub fn parse(query: &str, prometheus: bool) -> Result<Self, String> {
        let mut parsed = Self::default();
        for pair in query.rsplit('&') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_decode_str(value).decode_utf8_lossy();
            match key {
                "usedonly" => parsed.used_only = true,
                "invert_filter" => parsed.invert_filter = true,
                "text_readouts" => parsed.text_readouts = true,
                "filter" if !value.is_empty() => parsed.filter = Some(filter(&value)?),
                "format" => parsed.format = format(&value)?,
                "type" => parsed.kind = kind(&value)?,
                "histogram_buckets" => parsed.histogram_buckets = buckets(&value)?,
                "hidden" => hidden(&value)?,
                _ => {}
            }
        }
        if prometheus {
            parsed.format = Format::Prometheus;
        }
        if parsed.format == Format::Prometheus {
            parsed.kind = None;
            if matches!(parsed.histogram_buckets, Some(Buckets::Disjoint | Buckets::Detailed)) {
                return Err("unsupported prometheus histogram bucket mode".to_owned());
            }
        }
        Ok(parsed)
    }

    pub(super) fn admits(&self, kind: Kind, used: bool) -> bool {
        (used || !self.used_only) && self.kind.is_none_or(|wanted| wanted == kind)
    }

    pub(super) fn admits_name(&self, name: &str) -> bool {
        self.filter
            .as_ref()
            .is_none_or(|filter| filter.is_match(name) != self.invert_filter)
    }
}

fn filter(pattern: &str) -> Result<meta::Regex, String> {
    meta::Regex::new(pattern).map_err(|error| {
        let reason = error
            .syntax_error()
            .map_or_else(|| error.to_string(), ToString::to_string);
        format!("Invalid regex in filter={pattern}: {reason}")
    })
}

fn format(value: &str) -> Result<Format, String> {
    match value {
        "" | "text" => Ok(Format::Text),
        "json" => Ok(Format::Json),
        "prometheus" => Ok(Format::Prometheus),
        "html" | "active-html" => Err(format!(
            "format={value} is a page of Envoy's own; use text, json or prometheus"
        )),
        _ => Err("usage: /stats?format=(json|prometheus|text)\n\n".to_owned()),
    }
}

fn kind(value: &str) -> Result<Option<Kind>, String> {
    match value {
        "" | "All" => Ok(None),
        "Counters" => Ok(Some(Kind::Counter)),
        "Gauges" => Ok(Some(Kind::Gauge)),
        "Histograms" => Ok(Some(Kind::Histogram)),
        "TextReadouts" => Ok(Some(Kind::TextReadout)),
        _ => Err("invalid &type= param".to_owned()),
    }
}

fn buckets(value: &str) -> Result<Option<Buckets>, String> {
    match value {
        "" => Ok(None),
        "cumulative" => Ok(Some(Buckets::Cumulative)),
        "disjoint" => Ok(Some(Buckets::Disjoint)),
        "detailed" => Ok(Some(Buckets::Detailed)),
        "summary" => Ok(Some(Buckets::Summary)),
        "prometheusnative" => {
            Err("unsupported prometheusnative histogram type when not using protobuf exposition format".to_owned())
        }
        _ => {
            Err("usage: /stats?histogram_buckets=(cumulative|disjoint|detailed|summary|prometheusnative)\n".to_owned())
        }
    }
}

/// Hidden stats are Envoy's cache-backed gauges of its own; there are none here.
fn hidden(value: &str) -> Result<(), String> {
    match value {
        "" | "include" | "only" | "exclude" => Ok(()),
        _ => Err("usage: /stats?hidden=(include|only|exclude)\n\n".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_may_come_raw_or_encoded() {
        let raw = r"usedonly&filter=^(server\.state|listener_manager\.workers_started)";
        let encoded = "usedonly=&filter=%5E%28server%5C.state%7Clistener_manager%5C.workers_started%29";
        for query in [raw, encoded] {
            let query = Query::parse(query, false).unwrap();
            assert!(query.used_only);
            assert!(query.admits_name("server.state"));
            assert!(!query.admits_name("xserver.state"));
        }
    }

    #[test]
    fn wrong_values_are_told_with_the_right_ones() {
        for query in [
            "format=xml",
            "type=counter",
            "histogram_buckets=some",
            "hidden=yes",
            "filter=[",
        ] {
            assert!(Query::parse(query, false).is_err(), "{query}");
        }
        assert!(Query::parse("filter=%5B", false).unwrap_err().contains("filter=["));
        assert_eq!(Query::parse("format=json", true).unwrap().format, Format::Prometheus);
    }
}
