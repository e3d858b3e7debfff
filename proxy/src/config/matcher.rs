//! Strings, headers, query parameters and metadata that traffic is matched against.

use xds_api::envoy::{
    config::{core::v3 as core, route::v3 as route},
    extensions::path::r#match::uri_template::v3::UriTemplateMatchConfig,
    r#type::matcher::v3 as matcher,
};

use super::{
    at::At,
    extension::{self, Category, Kind},
    rejection::Rejection,
};
use crate::{
    matcher::{Regex, StringMatcher, StringPattern, ValueMatcher, uri_template},
    route::{
        RegexRewrite,
        matcher::{
            HeaderCondition, HeaderField, HeaderMatcher, MetadataMatcher, QueryCondition, QueryMatcher, RuntimeFraction,
        },
    },
};

pub(crate) fn string(pb: &matcher::StringMatcher, at: &At) -> Result<StringMatcher, Rejection> {
    use matcher::string_matcher::MatchPattern as P;
    let ignore_case = pb.ignore_case;
    let pattern = match &pb.match_pattern {
        None => return Err(at.reject("has no pattern: set exact, prefix, suffix, contains or safe_regex")),
        Some(P::Exact(text)) => StringPattern::Exact(fold(text, ignore_case)),
        Some(P::Prefix(text)) => StringPattern::Prefix(fold(at.non_empty("prefix", text)?, ignore_case)),
        Some(P::Suffix(text)) => StringPattern::Suffix(fold(at.non_empty("suffix", text)?, ignore_case)),
        Some(P::Contains(text)) => StringPattern::Contains(fold(at.non_empty("contains", text)?, ignore_case)),
        Some(P::SafeRegex(pattern)) => StringPattern::Regex(regex(pattern, &at.field("safe_regex"))?),
        Some(P::Custom(custom)) => {
            return Err(at.field("custom").reject(format_args!(
                "the string matcher {:?} is not known to Pillion",
                custom.name
            )));
        }
    };
    Ok(StringMatcher { pattern, ignore_case })
}

fn fold(text: &str, ignore_case: bool) -> Box<str> {
    if ignore_case {
        text.to_ascii_lowercase().into()
    } else {
        text.into()
    }
}

pub(crate) fn regex(pb: &matcher::RegexMatcher, at: &At) -> Result<Regex, Rejection> {
    let pattern = at.non_empty("regex", &pb.regex)?;
    Regex::new(pattern).map_err(|e| {
        at.field("regex").reject(format_args!(
            "{pattern:?} is no regular expression in RE2's syntax: {e}"
        ))
    })
}

pub(crate) fn regex_rewrite(pb: &matcher::RegexMatchAndSubstitute, at: &At) -> Result<RegexRewrite, Rejection> {
    Ok(RegexRewrite {
        pattern: regex(at.required("pattern", pb.pattern.as_deref())?, &at.field("pattern"))?,
        substitution: at.header_text("substitution", &pb.substitution)?.into(),
    })
}

pub(crate) fn headers(
    pbs: &[route::HeaderMatcher],
    field: &'static str,
    at: &At,
) -> Result<Vec<HeaderMatcher>, Rejection> {
    let parsed = pbs.iter().enumerate().map(|(i, pb)| header(pb, &at.item(field, i)));
    parsed.collect()
}

pub(crate) fn header(pb: &route::HeaderMatcher, at: &At) -> Result<HeaderMatcher, Rejection> {
    use route::header_matcher::HeaderMatchSpecifier as S;
    let value = |pattern| {
        HeaderCondition::Value(StringMatcher {
            pattern,
            ignore_case: false,
        })
    };
    let condition = match &pb.header_match_specifier {
        None => HeaderCondition::Present(true),
        Some(S::PresentMatch(present)) => HeaderCondition::Present(*present),
        Some(S::RangeMatch(range)) => HeaderCondition::Range {
            start: range.start,
            end: range.end,
        },
        Some(S::StringMatch(pattern)) => HeaderCondition::Value(string(pattern, &at.field("string_match"))?),
        // The next five are deprecated spellings of string_match, still sent by control planes.
        Some(S::ExactMatch(text)) => value(StringPattern::Exact(text.as_str().into())),
        Some(S::PrefixMatch(text)) => value(StringPattern::Prefix(at.non_empty("prefix_match", text)?.into())),
        Some(S::SuffixMatch(text)) => value(StringPattern::Suffix(at.non_empty("suffix_match", text)?.into())),
        Some(S::ContainsMatch(text)) => value(StringPattern::Contains(at.non_empty("contains_match", text)?.into())),
        Some(S::SafeRegexMatch(pattern)) => value(StringPattern::Regex(regex(pattern, &at.field("safe_regex_match"))?)),
    };
    Ok(HeaderMatcher {
        name: header_field("name", &pb.name, at)?,
        condition,
        invert: pb.invert_match,
        treat_missing_as_empty: pb.treat_missing_header_as_empty,
    })
}

/// Names are compared as Envoy's header map does: `host` and `:authority` are the same header.
pub(crate) fn header_field(field: &'static str, name: &str, at: &At) -> Result<HeaderField, Rejection> {
    Ok(match name.to_ascii_lowercase().as_str() {
        ":method" => HeaderField::Method,
        ":path" => HeaderField::Path,
        ":authority" | "host" => HeaderField::Authority,
        ":scheme" => HeaderField::Scheme,
        ":protocol" => HeaderField::Protocol,
        _ => HeaderField::Name(at.header_name(field, name)?),
    })
}

pub(crate) fn query(pb: &route::QueryParameterMatcher, at: &At) -> Result<QueryMatcher, Rejection> {
    use route::query_parameter_matcher::QueryParameterMatchSpecifier as S;
    Ok(QueryMatcher {
        name: at.non_empty("name", &pb.name)?.into(),
        condition: match &pb.query_parameter_match_specifier {
            None => QueryCondition::Present(true),
            Some(S::PresentMatch(present)) => QueryCondition::Present(*present),
            Some(S::StringMatch(pattern)) => QueryCondition::Value(string(pattern, &at.field("string_match"))?),
        },
    })
}

pub(crate) fn metadata(pb: &matcher::MetadataMatcher, at: &At) -> Result<MetadataMatcher, Rejection> {
    use matcher::metadata_matcher::path_segment::Segment;
    let mut path = Vec::with_capacity(pb.path.len());
    for (i, segment) in pb.path.iter().enumerate() {
        let at = at.item("path", i);
        match &segment.segment {
            Some(Segment::Key(key)) => path.push(at.non_empty("key", key)?.into()),
            None => return Err(at.field("key").reject("is required and not set")),
        }
    }
    if path.is_empty() {
        return Err(at.field("path").reject("must not be empty"));
    }
    let value = at.required("value", pb.value.as_deref())?;
    Ok(MetadataMatcher {
        filter: at.non_empty("filter", &pb.filter)?.into(),
        path,
        value: self::value(value, &at.field("value"))?,
        invert: pb.invert,
    })
}

pub(crate) fn value(pb: &matcher::ValueMatcher, at: &At) -> Result<ValueMatcher, Rejection> {
    use matcher::{
        double_matcher::MatchPattern as D, list_matcher::MatchPattern as L, value_matcher::MatchPattern as P,
    };
    let none = || at.reject("has no pattern");
    Ok(match pb.match_pattern.as_ref().ok_or_else(none)? {
        P::NullMatch(_) => ValueMatcher::Null,
        P::DoubleMatch(double) => match double.match_pattern.as_ref().ok_or_else(none)? {
            D::Exact(number) => ValueMatcher::Number(*number),
            D::Range(range) => ValueMatcher::NumberRange(range.start, range.end),
        },
        P::StringMatch(pattern) => ValueMatcher::String(string(pattern, &at.field("string_match"))?),
        P::BoolMatch(wanted) => ValueMatcher::Bool(*wanted),
        P::PresentMatch(wanted) => ValueMatcher::Present(*wanted),
        P::ListMatch(list) => {
            let L::OneOf(one) = list.match_pattern.as_ref().ok_or_else(none)?;
            ValueMatcher::OneOf(Box::new(value(one, &at.field("list_match.one_of"))?))
        }
        P::OrMatch(or) => {
            let at = at.field("or_match");
            let each = or.value_matchers.iter().enumerate();
            let each = each.map(|(i, one)| value(one, &at.item("value_matchers", i)));
            ValueMatcher::Or(each.collect::<Result<_, _>>()?)
        }
    })
}

const URI_TEMPLATE: &[Kind<Regex>] = &[Kind {
    type_name: "envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig",
    parse: |extension, at| {
        let pb: UriTemplateMatchConfig = extension.message(at)?;
        let template = at.non_empty("path_template", &pb.path_template)?;
        uri_template::compile(template).map_err(|problem| {
            at.field("path_template")
                .reject(format_args!("{template:?} is no path template: {problem}"))
        })
    },
}];

/// A path matcher: templates are the one that there is.
pub(crate) fn path_template(pb: &core::TypedExtensionConfig, at: &At) -> Result<Regex, Rejection> {
    let at = at.field("typed_config");
    extension::dispatch(
        Category::PathMatcher,
        pb.typed_config.as_ref(),
        false,
        URI_TEMPLATE,
        &at,
    )?
    .ok_or_else(|| at.reject("names no path matcher"))
}

pub(crate) fn runtime_fraction(pb: &core::RuntimeFractionalPercent, at: &At) -> Result<RuntimeFraction, Rejection> {
    let default = at.required("default_value", pb.default_value.as_ref())?;
    Ok(RuntimeFraction {
        runtime_key: pb.runtime_key.as_str().into(),
        default_millionths: at.millionths("default_value", default)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Context, at::Scope};

    #[test]
    fn deprecated_header_matchers_mean_what_string_match_says() {
        use route::header_matcher::HeaderMatchSpecifier as S;
        let scope = Scope::new("route configuration", "r", &Context::for_tests());
        let at = scope.root();
        let matcher = |specifier| {
            header(
                &route::HeaderMatcher {
                    name: "X-A".into(),
                    header_match_specifier: Some(specifier),
                    ..Default::default()
                },
                &at,
            )
        };
        let HeaderCondition::Value(exact) = matcher(S::ExactMatch("a".into())).unwrap().condition else {
            panic!("a value matcher")
        };
        assert!(exact.matches(b"a") && !exact.matches(b"ab"));
        assert!(matches!(
            matcher(S::PresentMatch(false)).unwrap().condition,
            HeaderCondition::Present(false)
        ));
        let bad = matcher(S::SafeRegexMatch(Box::new(matcher::RegexMatcher {
            regex: "a(".into(),
            engine_type: None,
        })));
        let said = bad.unwrap_err().to_string();
        assert!(
            said.contains("safe_regex_match.regex") && said.contains("\"a(\""),
            "{said}"
        );
    }

    #[test]
    fn case_is_folded_once() {
        let scope = Scope::new("route configuration", "r", &Context::for_tests());
        let pb = matcher::StringMatcher {
            ignore_case: true,
            match_pattern: Some(matcher::string_matcher::MatchPattern::Prefix("AbC".into())),
        };
        assert!(string(&pb, &scope.root()).unwrap().matches(b"aBcd"));
        assert!(string(&matcher::StringMatcher::default(), &scope.root()).is_err());
    }
}
