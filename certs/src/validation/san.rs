//! Subject-alternative-name matchers: Envoy's `match_typed_subject_alt_names` and `match_subject_alt_names`.

use std::borrow::Cow;
use std::fmt;

use regex_automata::meta::Regex;

use crate::certificate::SubjectAltName;

/// Accepts a certificate by one of its subject alternative names.
#[derive(Debug, Clone)]
pub struct SanMatcher {
    kind: Option<SanKind>,
    matcher: StringMatcher,
}

/// Which kind of name a matcher looks at (Envoy's `SubjectAltNameMatcher.san_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SanKind {
    Email,
    Dns,
    Uri,
    Ip,
}

/// Envoy's `StringMatcher`, as far as names need it.
#[derive(Debug, Clone)]
pub struct StringMatcher {
    pattern: Pattern,
    ignore_case: bool,
}

#[derive(Debug, Clone)]
enum Pattern {
    Exact(Box<str>),
    Prefix(Box<str>),
    Suffix(Box<str>),
    Contains(Box<str>),
    Regex { text: Box<str>, compiled: Box<Regex> },
}

/// A regular expression that cannot be compiled.
#[derive(Debug, Clone, thiserror::Error)]
#[error("regex {pattern:?}: {reason}")]
pub struct RegexError {
    pub pattern: String,
    pub reason: String,
}

impl StringMatcher {
    pub fn exact(value: impl Into<Box<str>>) -> Self {
        Self {
            pattern: Pattern::Exact(value.into()),
            ignore_case: false,
        }
    }

    pub fn prefix(value: impl Into<Box<str>>) -> Self {
        Self {
            pattern: Pattern::Prefix(value.into()),
            ignore_case: false,
        }
    }

    pub fn suffix(value: impl Into<Box<str>>) -> Self {
        Self {
            pattern: Pattern::Suffix(value.into()),
            ignore_case: false,
        }
    }

    pub fn contains(value: impl Into<Box<str>>) -> Self {
        Self {
            pattern: Pattern::Contains(value.into()),
            ignore_case: false,
        }
    }

    /// A regular expression that must match the whole name, as RE2's full match.
    pub fn regex(pattern: &str) -> Result<Self, RegexError> {
        // Compiled alone first: "a)|(b" must not become valid through the group put round it.
        let compile = |pattern: &str| Regex::new(pattern).map_err(|e| e.to_string());
        let compiled = compile(pattern)
            .and_then(|_| compile(&format!(r"\A(?:{pattern})\z")))
            .map_err(|reason| RegexError {
                pattern: pattern.to_owned(),
                reason,
            })?;
        let pattern = Pattern::Regex {
            text: pattern.into(),
            compiled: Box::new(compiled),
        };
        Ok(Self {
            pattern,
            ignore_case: false,
        })
    }

    /// ASCII case is ignored by every pattern but the regex, as Envoy has it.
    #[must_use]
    pub fn ignoring_case(mut self) -> Self {
        self.ignore_case = true;
        if let Pattern::Exact(text) | Pattern::Prefix(text) | Pattern::Suffix(text) | Pattern::Contains(text) =
            &mut self.pattern
        {
            text.make_ascii_lowercase();
        }
        self
    }

    pub fn matches(&self, value: &str) -> bool {
        let value = match self.ignore_case {
            true => Cow::Owned(value.to_ascii_lowercase()),
            false => Cow::Borrowed(value),
        };
        match &self.pattern {
            Pattern::Exact(text) => *value == **text,
            Pattern::Prefix(text) => value.starts_with(&**text),
            Pattern::Suffix(text) => value.ends_with(&**text),
            Pattern::Contains(text) => value.contains(&**text),
            Pattern::Regex { compiled, .. } => compiled.is_match(&*value),
        }
    }
}

impl SanMatcher {
    /// Looks at names of one kind (`match_typed_subject_alt_names`).
    pub fn typed(kind: SanKind, matcher: StringMatcher) -> Self {
        Self {
            kind: Some(kind),
            matcher,
        }
    }

    /// Looks at names of every kind (the deprecated `match_subject_alt_names`).
    pub fn any(matcher: StringMatcher) -> Self {
        Self { kind: None, matcher }
    }

    pub fn matches(&self, name: &SubjectAltName) -> bool {
        match (name, self.kind) {
            (SubjectAltName::Dns(dns), Some(SanKind::Dns) | None) => self.matches_dns(dns),
            (SubjectAltName::Uri(uri), Some(SanKind::Uri) | None) => self.matcher.matches(uri),
            (SubjectAltName::Email(address), Some(SanKind::Email) | None) => self.matcher.matches(address),
            (SubjectAltName::Ip(ip), Some(SanKind::Ip) | None) => self.matcher.matches(&ip.to_string()),
            _ => false,
        }
    }

    /// An exact DNS matcher is a host name, so the certificate's wildcards count, as in Envoy.
    fn matches_dns(&self, dns: &str) -> bool {
        match &self.matcher.pattern {
            Pattern::Exact(host) => dns_name_matches(host, dns),
            _ => self.matcher.matches(dns),
        }
    }
}

/// Whether a certificate's DNS name covers a host: equal but for case, or `*.` in place of exactly one label
/// (RFC 6125 section 6.4.3, as Envoy restricts it).
pub fn dns_name_matches(host: &str, pattern: &str) -> bool {
    if let Some(parent) = pattern.strip_prefix("*.") {
        return match host.split_once('.') {
            Some((label, rest)) => !label.is_empty() && !parent.is_empty() && rest.eq_ignore_ascii_case(parent),
            None => false,
        };
    }
    host.eq_ignore_ascii_case(pattern)
}

impl fmt::Display for StringMatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.pattern {
            Pattern::Exact(text) => write!(f, "exact {text:?}"),
            Pattern::Prefix(text) => write!(f, "prefix {text:?}"),
            Pattern::Suffix(text) => write!(f, "suffix {text:?}"),
            Pattern::Contains(text) => write!(f, "contains {text:?}"),
            Pattern::Regex { text, .. } => write!(f, "regex {text:?}"),
        }?;
        if self.ignore_case {
            f.write_str(" (any case)")
        } else {
            Ok(())
        }
    }
}

impl fmt::Display for SanMatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Some(SanKind::Email) => "EMAIL ",
            Some(SanKind::Dns) => "DNS ",
            Some(SanKind::Uri) => "URI ",
            Some(SanKind::Ip) => "IP ",
            None => "",
        };
        write!(f, "{kind}{}", self.matcher)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> SubjectAltName {
        SubjectAltName::Uri(text.into())
    }

    fn dns(text: &str) -> SubjectAltName {
        SubjectAltName::Dns(text.into())
    }

    #[test]
    fn patterns() {
        let id = "spiffe://td/ns/a/sa/web";
        for (matcher, matches) in [
            (StringMatcher::exact(id), true),
            (StringMatcher::exact("spiffe://td/ns/a/sa/webb"), false),
            (StringMatcher::exact("SPIFFE://TD/ns/a/sa/web"), false),
            (StringMatcher::exact("SPIFFE://TD/ns/a/sa/web").ignoring_case(), true),
            (StringMatcher::prefix("spiffe://td/"), true),
            (StringMatcher::prefix("spiffe://other/"), false),
            (StringMatcher::suffix("/sa/web"), true),
            (StringMatcher::contains("/ns/a/"), true),
            (StringMatcher::contains("/ns/b/"), false),
            (StringMatcher::regex("spiffe://[^/]+/ns/.*").unwrap(), true),
            (StringMatcher::regex("/ns/a").unwrap(), false),
            (StringMatcher::regex("x|spiffe://td/ns/a/sa/web").unwrap(), true),
        ] {
            assert_eq!(
                SanMatcher::typed(SanKind::Uri, matcher.clone()).matches(&uri(id)),
                matches,
                "{matcher}"
            );
        }
    }

    #[test]
    fn a_regex_cannot_escape_its_anchors() {
        assert!(StringMatcher::regex("a)|(b").is_err());
        let error = StringMatcher::regex("(?=look)").unwrap_err().to_string();
        assert!(error.contains("(?=look)"), "{error}");
    }

    #[test]
    fn kinds() {
        let matcher = StringMatcher::exact("10.0.0.1");
        let ip = SubjectAltName::Ip("10.0.0.1".parse().unwrap());
        assert!(SanMatcher::typed(SanKind::Ip, matcher.clone()).matches(&ip));
        assert!(!SanMatcher::typed(SanKind::Dns, matcher.clone()).matches(&ip));
        assert!(SanMatcher::any(matcher).matches(&ip));
        assert!(!SanMatcher::typed(SanKind::Uri, StringMatcher::exact("a")).matches(&dns("a")));
        let email = SubjectAltName::Email("a@b".into());
        assert!(SanMatcher::typed(SanKind::Email, StringMatcher::suffix("@b")).matches(&email));
    }

    #[test]
    fn dns_wildcards() {
        for (host, pattern, matches) in [
            ("api.example.com", "*.example.com", true),
            ("API.example.com", "*.EXAMPLE.com", true),
            ("a.b.example.com", "*.example.com", false),
            ("example.com", "*.example.com", false),
            (".example.com", "*.example.com", false),
            ("api.example.com", "api.*.com", false),
            ("api.example.com", "*", false),
        ] {
            assert_eq!(dns_name_matches(host, pattern), matches, "{host} {pattern}");
        }
        let exact = SanMatcher::typed(SanKind::Dns, StringMatcher::exact("api.example.com"));
        assert!(exact.matches(&dns("*.example.com")));
        let prefix = SanMatcher::typed(SanKind::Dns, StringMatcher::prefix("api."));
        assert!(!prefix.matches(&dns("*.example.com")));
    }
}
