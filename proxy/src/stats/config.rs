//! `envoy.config.metrics.v3.StatsConfig`, as plain values, and what the store makes of it.

use std::sync::Arc;

use super::histogram::DEFAULT_BOUNDS;
use super::tags::TagProducer;
use crate::matcher::StringMatcher;

/// `stats_config` of a bootstrap; the default is Envoy's.
#[derive(Debug, Default)]
pub struct StatsConfig {
    /// `stats_tags`, in their order.
    pub stats_tags: Vec<StatsTag>,
    /// `use_all_default_tags`; absent means true.
    pub use_all_default_tags: Option<bool>,
    /// `stats_matcher`.
    pub stats_matcher: StatsMatcher,
    /// The bootstrap's `deferred_stat_options.enable_deferred_creation_stats`: a cluster's traffic stats do not show
    /// until there was traffic.
    pub deferred_creation: bool,
    /// `histogram_bucket_settings`; the first that matches a histogram's full name gives its buckets.
    pub histogram_bucket_settings: Vec<HistogramBuckets>,
}

/// `TagSpecifier`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatsTag {
    pub tag_name: String,
    pub value: TagValue,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagValue {
    /// No value given: the default tag of this name.
    Default,
    /// `regex`, in std::regex's (ECMAScript) syntax: group 1 is cut from the name, group 2, if any, is the value.
    Regex(String),
    /// `fixed_value`, put on every stat.
    Fixed(String),
}

/// Which stats exist.
#[derive(Debug, Default)]
pub enum StatsMatcher {
    #[default]
    All,
    /// `reject_all: true`
    RejectAll,
    /// Those whose full name matches one of these.
    Inclusion(Vec<StringMatcher>),
    /// All but those.
    Exclusion(Vec<StringMatcher>),
}

/// `HistogramBucketSettings`: upper bounds, ascending.
#[derive(Debug)]
pub struct HistogramBuckets {
    pub match_: StringMatcher,
    pub buckets: Vec<f64>,
}

/// The config compiled.
pub(super) struct Settings {
    pub(super) tags: TagProducer,
    pub(super) deferred_creation: bool,
    matcher: StatsMatcher,
    buckets: Vec<(StringMatcher, Arc<[f64]>)>,
    default_bounds: Arc<[f64]>,
}

impl Settings {
    /// Also returns what was skipped, in sentences.
    pub(super) fn new(config: StatsConfig) -> (Self, Vec<String>) {
        let buckets = config.histogram_bucket_settings.into_iter();
        let (tags, warnings) = TagProducer::new(config.stats_tags, config.use_all_default_tags.unwrap_or(true));
        let settings = Self {
            tags,
            deferred_creation: config.deferred_creation,
            matcher: config.stats_matcher,
            buckets: buckets
                .map(|setting| (setting.match_, setting.buckets.into()))
                .collect(),
            default_bounds: DEFAULT_BOUNDS.into(),
        };
        (settings, warnings)
    }

    /// Whether a stat of this full name exists.
    pub(super) fn admits(&self, name: &str) -> bool {
        let any = |matchers: &[StringMatcher]| matchers.iter().any(|matcher| matcher.matches(name.as_bytes()));
        match &self.matcher {
            StatsMatcher::All => true,
            StatsMatcher::RejectAll => false,
            StatsMatcher::Inclusion(matchers) => any(matchers),
            StatsMatcher::Exclusion(matchers) => !any(matchers),
        }
    }

    /// The bucket bounds of the histogram of this full name.
    pub(super) fn bounds(&self, name: &str) -> Arc<[f64]> {
        let own = self
            .buckets
            .iter()
            .find(|(matcher, _)| matcher.matches(name.as_bytes()));
        own.map_or_else(|| self.default_bounds.clone(), |(_, bounds)| bounds.clone())
    }
}
