//! `stats_tags` regexes: written for std::regex (ECMAScript), compiled here as what the `regex` family can do.

use regex_automata::meta;
use regex_automata::util::syntax;

/// The one use of look-ahead in the wild (Istio's and Envoy's own older tags): a dot must follow, and anything up to the
/// rest of the pattern may. The rest starts with a dot in them, so the same strings match with the dot made optional.
const DOT_AHEAD: (&str, &str) = (r"(?=\.).*?", r"(?:\..*?)??");

/// # Errors
/// Why the regex cannot be used, as the end of a sentence.
pub(super) fn compile(regex: &str) -> Result<meta::Regex, String> {
    let regex = regex.replace(DOT_AHEAD.0, DOT_AHEAD.1);
    // std::regex sees bytes: `\w` and `\d` are ASCII.
    let config = syntax::Config::new().unicode(false).utf8(false);
    let compiled = meta::Regex::builder().syntax(config).build(&regex).map_err(|error| {
        let reason = error
            .syntax_error()
            .map_or_else(|| error.to_string(), ToString::to_string);
        let reason = reason
            .lines()
            .last()
            .unwrap_or_default()
            .trim_start_matches("error: ")
            .to_owned();
        format!("cannot be compiled: {reason}")
    })?;
    if compiled.group_info().group_len(Default::default()) < 2 {
        return Err("has no group, so nothing could be cut out".to_owned());
    }
    Ok(compiled)
}

/// The token that every matching name starts with, where the regex says so at its very start (`^cluster\.`). It decides
/// a tag's place among the others.
pub(super) fn first_token(regex: &str) -> Option<&str> {
    let rest = regex.strip_prefix('^')?;
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
    let (token, after) = rest.split_at(end);
    let ends = after.starts_with(r"\.") || after.starts_with(r"(?=\.)") || after == "$";
    (ends && !token.is_empty()).then_some(token)
}
