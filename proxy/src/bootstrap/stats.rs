//! `stats_config`.

use xds_api::envoy::config::metrics::v3 as pb;

use crate::{
    config::{Rejection, at::At, matcher},
    stats::{HistogramBuckets, StatsConfig, StatsMatcher, StatsTag, TagValue},
};

/// Envoy's limit for a tag's expression, in bytes.
const TAG_REGEX_MAX: usize = 1024;

pub(super) fn parse(pb: Option<&pb::StatsConfig>, deferred_creation: bool, at: &At) -> Result<StatsConfig, Rejection> {
    let Some(pb) = pb else {
        return Ok(StatsConfig {
            deferred_creation,
            ..StatsConfig::default()
        });
    };
    let mut stats_tags = Vec::with_capacity(pb.stats_tags.len());
    for (i, tag) in pb.stats_tags.iter().enumerate() {
        stats_tags.push(self::tag(tag, &at.item("stats_tags", i))?);
    }
    let mut histogram_bucket_settings = Vec::with_capacity(pb.histogram_bucket_settings.len());
    for (i, settings) in pb.histogram_bucket_settings.iter().enumerate() {
        let at = at.item("histogram_bucket_settings", i);
        at.not_honoured("bins", settings.bins.is_some());
        let matches = matcher::string(at.required("match", settings.r#match.as_deref())?, &at.field("match"))?;
        let buckets = buckets(&settings.buckets, &at)?;
        if !buckets.is_empty() {
            histogram_bucket_settings.push(HistogramBuckets {
                match_: matches,
                buckets,
            });
        }
    }
    Ok(StatsConfig {
        deferred_creation,
        stats_tags,
        use_all_default_tags: pb.use_all_default_tags,
        stats_matcher: stats_matcher(pb.stats_matcher.as_deref(), &at.field("stats_matcher"))?,
        histogram_bucket_settings,
    })
}

fn tag(pb: &pb::TagSpecifier, at: &At) -> Result<StatsTag, Rejection> {
    use pb::tag_specifier::TagValue as V;
    let tag_name = at.non_empty("tag_name", &pb.tag_name)?.to_owned();
    let value = match &pb.tag_value {
        None => TagValue::Default,
        Some(V::Regex(regex)) if regex.is_empty() => TagValue::Default,
        Some(V::FixedValue(value)) => TagValue::Fixed(value.clone()),
        Some(V::Regex(regex)) if regex.len() > TAG_REGEX_MAX => {
            return Err(at
                .field("regex")
                .reject(format_args!("is longer than {TAG_REGEX_MAX} bytes")));
        }
        Some(V::Regex(regex)) => {
            check_brackets(regex, &at.field("regex"))?;
            TagValue::Regex(regex.clone())
        }
    };
    Ok(StatsTag { tag_name, value })
}

/// ECMAScript has more than our expressions, so a pattern that we cannot compile may be right; one whose brackets do not
/// match never is.
fn check_brackets(regex: &str, at: &At) -> Result<(), Rejection> {
    const WRONG_EVERYWHERE: [&str; 4] = [
        "unclosed group",
        "unopened group",
        "unclosed character class",
        "repetition operator missing expression",
    ];
    match regex::Regex::new(regex) {
        Err(e) if WRONG_EVERYWHERE.iter().any(|wrong| e.to_string().contains(wrong)) => Err(at.reject(e)),
        _ => Ok(()),
    }
}

fn buckets(pb: &[f64], at: &At) -> Result<Vec<f64>, Rejection> {
    let mut buckets = pb.to_vec();
    buckets.sort_by(f64::total_cmp);
    if let Some(low) = buckets.iter().find(|bucket| !(bucket.is_finite() && **bucket > 0.0)) {
        return Err(at
            .field("buckets")
            .reject(format_args!("{low} is no upper bound: it must be more than 0")));
    }
    if let Some(pair) = buckets.windows(2).find(|pair| pair[0] >= pair[1]) {
        return Err(at
            .field("buckets")
            .reject(format_args!("{} stands here twice", pair[0])));
    }
    Ok(buckets)
}

fn stats_matcher(pb: Option<&pb::StatsMatcher>, at: &At) -> Result<StatsMatcher, Rejection> {
    use pb::stats_matcher::StatsMatcher as M;
    let Some(pb) = pb else { return Ok(StatsMatcher::All) };
    let list = |field: &'static str, list: &xds_api::envoy::r#type::matcher::v3::ListStringMatcher| {
        let at = at.field(field);
        if list.patterns.is_empty() {
            return Err(at.field("patterns").reject("must not be empty"));
        }
        let patterns = list.patterns.iter().enumerate();
        patterns
            .map(|(i, p)| matcher::string(p, &at.item("patterns", i)))
            .collect()
    };
    Ok(match &pb.stats_matcher {
        None => return Err(at.reject("is empty: set reject_all, inclusion_list or exclusion_list")),
        Some(M::RejectAll(true)) => StatsMatcher::RejectAll,
        Some(M::RejectAll(false)) => StatsMatcher::All,
        Some(M::InclusionList(patterns)) => StatsMatcher::Inclusion(list("inclusion_list", patterns)?),
        Some(M::ExclusionList(patterns)) => StatsMatcher::Exclusion(list("exclusion_list", patterns)?),
    })
}
