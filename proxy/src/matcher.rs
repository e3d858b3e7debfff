//! Envoy's `type.matcher.v3` string matchers, compiled once and shared by routes, RBAC, stats and certificates.

use std::sync::Arc;

use regex_automata::meta;
use serde_json::Value;

pub mod uri_template;

/// `envoy.type.matcher.v3.StringMatcher`, compiled.
#[derive(Debug, Clone)]
pub struct StringMatcher {
    pub pattern: StringPattern,
    /// ASCII case is ignored; the pattern itself was lower-cased when it was parsed. Has no effect on a regex.
    pub ignore_case: bool,
}

#[derive(Debug, Clone)]
pub enum StringPattern {
    Exact(Box<str>),
    Prefix(Box<str>),
    Suffix(Box<str>),
    Contains(Box<str>),
    /// Matches the whole string.
    Regex(Regex),
}

/// `envoy.type.matcher.v3.ValueMatcher`, compiled: of JSON values, as metadata holds them. None matches what is missing.
#[derive(Debug, Clone)]
pub enum ValueMatcher {
    Null,
    Number(f64),
    /// `start..end`.
    NumberRange(f64, f64),
    String(StringMatcher),
    Bool(bool),
    /// `false` matches nothing, as in Envoy.
    Present(bool),
    /// A list of which one element matches.
    OneOf(Box<Self>),
    Or(Vec<Self>),
}

/// A regular expression with RE2's semantics, over bytes, in linear time.
#[derive(Debug, Clone)]
pub struct Regex(Arc<Compiled>);

#[derive(Debug)]
struct Compiled {
    full: meta::Regex,
    search: meta::Regex,
}

/// Largest compiled program: a route table may hold hundreds of expressions, and a sidecar has a memory budget.
const REGEX_SIZE_LIMIT_BYTES: usize = 1 << 20;

impl Regex {
    /// # Errors
    /// The parser's own sentence, which points at the place in the pattern.
    pub fn new(pattern: &str) -> Result<Self, String> {
        let build = |pattern: &str| {
            meta::Regex::builder()
                .configure(meta::Config::new().nfa_size_limit(Some(REGEX_SIZE_LIMIT_BYTES)))
                .syntax(regex_automata::util::syntax::Config::new().utf8(false))
                .build(pattern)
                .map_err(|e| e.syntax_error().map_or_else(|| e.to_string(), ToString::to_string))
        };
        // The anchored form makes `a|ab` match "ab" whole; errors are told of the pattern as written.
        let search = build(pattern)?;
        Ok(Self(Arc::new(Compiled {
            full: build(&format!("^(?:{pattern})$"))?,
            search,
        })))
    }

    /// Whether the whole of `text` matches, as RE2's `FullMatch`, which Envoy uses for every `safe_regex`.
    pub fn is_full_match(&self, text: &[u8]) -> bool {
        self.0.full.is_match(text)
    }

    /// Replaces every match, `\1` standing for groups: RE2's `GlobalReplace`, as in `regex_rewrite`.
    pub fn replace_all(&self, text: &str, substitution: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut at = 0;
        for caps in self.0.search.captures_iter(text) {
            let Some(whole) = caps.get_match() else { continue };
            out.push_str(&text[at..whole.start()]);
            let mut chars = substitution.chars();
            while let Some(c) = chars.next() {
                match c {
                    '\\' => match chars.next() {
                        Some(d) if d.is_ascii_digit() => {
                            let group = caps.get_group(d as usize - '0' as usize);
                            out.push_str(group.map_or("", |g| &text[g.start..g.end]));
                        }
                        Some(other) => out.push(other),
                        None => {}
                    },
                    plain => out.push(plain),
                }
            }
            at = whole.end();
        }
        out.push_str(&text[at..]);
        out
    }
}

impl ValueMatcher {
    pub fn matches(&self, value: &Value) -> bool {
        match self {
            Self::Null => value.is_null(),
            Self::Number(wanted) => value.as_f64().is_some_and(|n| n.total_cmp(wanted).is_eq()),
            Self::NumberRange(start, end) => value.as_f64().is_some_and(|n| (*start..*end).contains(&n)),
            Self::String(matcher) => value.as_str().is_some_and(|text| matcher.matches(text.as_bytes())),
            Self::Bool(wanted) => value.as_bool() == Some(*wanted),
            Self::Present(wanted) => *wanted,
            Self::OneOf(matcher) => value
                .as_array()
                .is_some_and(|list| list.iter().any(|v| matcher.matches(v))),
            Self::Or(matchers) => matchers.iter().any(|matcher| matcher.matches(value)),
        }
    }
}

impl StringMatcher {
    pub fn matches(&self, text: &[u8]) -> bool {
        match &self.pattern {
            StringPattern::Exact(p) if self.ignore_case => text.eq_ignore_ascii_case(p.as_bytes()),
            StringPattern::Exact(p) => text == p.as_bytes(),
            StringPattern::Prefix(p) => text.get(..p.len()).is_some_and(|t| self.equal(t, p.as_bytes())),
            StringPattern::Suffix(p) => text
                .len()
                .checked_sub(p.len())
                .is_some_and(|i| self.equal(&text[i..], p.as_bytes())),
            StringPattern::Contains(p) => p.is_empty() || text.windows(p.len()).any(|t| self.equal(t, p.as_bytes())),
            StringPattern::Regex(r) => r.is_full_match(text),
        }
    }

    fn equal(&self, a: &[u8], b: &[u8]) -> bool {
        if self.ignore_case {
            a.eq_ignore_ascii_case(b)
        } else {
            a == b
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matcher(pattern: StringPattern, ignore_case: bool) -> StringMatcher {
        StringMatcher { pattern, ignore_case }
    }

    #[test]
    fn a_regex_matches_the_whole_string_even_where_a_shorter_alternative_comes_first() {
        let r = Regex::new("a|ab").unwrap();
        assert!(r.is_full_match(b"ab") && r.is_full_match(b"a") && !r.is_full_match(b"abc"));
    }

    #[test]
    fn substitution_uses_re2_groups() {
        let r = Regex::new("^/service/([^/]+)(/.*)$").unwrap();
        assert_eq!(
            r.replace_all("/service/foo/v1/api", "\\2/instance/\\1"),
            "/v1/api/instance/foo"
        );
        assert_eq!(
            Regex::new("one").unwrap().replace_all("/xx/one/yy/one/zz", "two"),
            "/xx/two/yy/two/zz"
        );
    }

    #[test]
    fn a_bad_regex_says_what_is_wrong() {
        assert!(Regex::new("a(b").unwrap_err().contains("unclosed group"));
    }

    #[test]
    fn strings() {
        assert!(matcher(StringPattern::Prefix("ab".into()), true).matches(b"ABc"));
        assert!(!matcher(StringPattern::Prefix("ab".into()), false).matches(b"ABc"));
        assert!(matcher(StringPattern::Suffix("bc".into()), false).matches(b"abc"));
        assert!(matcher(StringPattern::Contains("b".into()), false).matches(b"abc"));
        assert!(matcher(StringPattern::Exact("abc".into()), true).matches(b"aBc"));
    }
}
