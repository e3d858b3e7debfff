//! Path normalisation, as Envoy's `normalize_path`, `merge_slashes` and `path_with_escaped_slashes_action` (RFC 3986, 6).

use super::EscapedSlashes;

/// What normalisation made of a path.
#[derive(Debug, PartialEq, Eq)]
pub enum Normalized {
    Unchanged,
    Changed(String),
    /// The client is told to ask for this path instead.
    Redirect(String),
    Rejected,
    /// `path_with_escaped_slashes_action: REJECT_REQUEST`: the path as it would have been without escapes, for logs.
    RejectedEscapes(String),
}

/// Normalises the path of a path-and-query. The query is left as it is.
pub fn normalize(path_and_query: &str, dots: bool, merge_slashes: bool, escaped: EscapedSlashes) -> Normalized {
    let (path, query) = path_and_query
        .find('?')
        .map_or((path_and_query, ""), |i| path_and_query.split_at(i));
    let has_escaped = has_escaped_slash(path);
    if has_escaped && escaped == EscapedSlashes::RejectRequest {
        return Normalized::RejectedEscapes(unescape_slashes(path) + query);
    }
    let unescape = has_escaped
        && matches!(
            escaped,
            EscapedSlashes::UnescapeAndRedirect | EscapedSlashes::UnescapeAndForward
        );
    let mut out = if unescape {
        unescape_slashes(path)
    } else {
        path.to_owned()
    };
    if dots {
        let Some(resolved) = decode_unreserved(&out).as_deref().and_then(resolve_dots) else {
            return Normalized::Rejected;
        };
        out = resolved;
    }
    if merge_slashes {
        out = merge(&out);
    }
    if unescape && escaped == EscapedSlashes::UnescapeAndRedirect {
        out.push_str(query);
        return Normalized::Redirect(out);
    }
    if out == path {
        return Normalized::Unchanged;
    }
    out.push_str(query);
    Normalized::Changed(out)
}

/// `%2F` and `%5C`, in either case.
fn has_escaped_slash(path: &str) -> bool {
    path.as_bytes().windows(3).any(is_escaped_slash)
}

fn is_escaped_slash(w: &[u8]) -> bool {
    w.eq_ignore_ascii_case(b"%2f") || w.eq_ignore_ascii_case(b"%5c")
}

fn unescape_slashes(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(i) = rest.find('%') {
        out.push_str(&rest[..i]);
        rest = &rest[i..];
        let token = rest.as_bytes().get(..3).filter(|w| is_escaped_slash(w));
        match token {
            Some(w) if w.eq_ignore_ascii_case(b"%2f") => out.push('/'),
            Some(_) => out.push('\\'),
            None => {
                out.push('%');
                rest = &rest[1..];
                continue;
            }
        }
        rest = &rest[3..];
    }
    out.push_str(rest);
    out
}

/// Decodes `%XX` of unreserved characters (RFC 3986, 6.2.2.2); backslashes become slashes, as in Envoy. `None` where a
/// NUL is encoded.
fn decode_unreserved(path: &str) -> Option<String> {
    let mut out = String::with_capacity(path.len());
    let bytes = path.as_bytes();
    let mut i = 0;
    while i < bytes.len() {
        if bytes[i] == b'%' {
            let hex = bytes.get(i + 1..i + 3).and_then(|h| std::str::from_utf8(h).ok());
            match hex.and_then(|h| u8::from_str_radix(h, 16).ok()) {
                Some(0) => return None,
                Some(b) if b.is_ascii_alphanumeric() || b"-._~".contains(&b) => {
                    out.push(b as char);
                    i += 3;
                    continue;
                }
                _ => {}
            }
        }
        match bytes[i] {
            b'\\' => out.push('/'),
            // Not allowed in a path (RFC 3986, 3.3), and encoded by Envoy.
            b @ (b'"' | b'<' | b'>' | b'{' | b'}' | b'|' | b'^' | b'`') => out.push_str(&format!("%{b:02X}")),
            b => out.push(b as char),
        }
        i += 1;
    }
    Some(out)
}

/// Removes `.` and `..` segments (RFC 3986, 5.2.4). `None` for a path that does not begin with a slash.
fn resolve_dots(path: &str) -> Option<String> {
    let rest = path.strip_prefix('/')?;
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = rest.split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." => {
                if last {
                    kept.push("");
                }
            }
            ".." => {
                kept.pop();
                if last {
                    kept.push("");
                }
            }
            other => kept.push(other),
        }
    }
    let mut out = String::with_capacity(path.len());
    for segment in &kept {
        out.push('/');
        out.push_str(segment);
    }
    if out.is_empty() {
        out.push('/');
    }
    Some(out)
}

fn merge(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for c in path.chars() {
        if !(c == '/' && out.ends_with('/')) {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dots(path: &str) -> Normalized {
        normalize(path, true, false, EscapedSlashes::KeepUnchanged)
    }

    fn changed(path: &str) -> Normalized {
        Normalized::Changed(path.to_owned())
    }

    #[test]
    fn dot_segments_are_resolved_and_the_query_is_left_alone() {
        assert_eq!(dots("/a/b/../c?x=/../y"), changed("/a/c?x=/../y"));
        assert_eq!(dots("/a/./b/."), changed("/a/b/"));
        assert_eq!(dots("/../.."), changed("/"));
        assert_eq!(dots("/a/b"), Normalized::Unchanged);
    }

    #[test]
    fn unreserved_characters_are_decoded_and_backslashes_are_slashes() {
        assert_eq!(dots("/%61%2e%2e/b"), changed("/a../b"));
        assert_eq!(dots("/x/%2e%2E/b"), changed("/b"));
        assert_eq!(dots("/a\\b"), changed("/a/b"));
        assert_eq!(dots("/a%2Fb"), Normalized::Unchanged);
    }

    #[test]
    fn slashes() {
        assert_eq!(
            normalize("//a///b", false, true, EscapedSlashes::KeepUnchanged),
            changed("/a/b")
        );
        assert_eq!(
            normalize("/a%2fb", true, false, EscapedSlashes::UnescapeAndForward),
            changed("/a/b")
        );
        assert_eq!(
            normalize("/a%5cb?q", true, false, EscapedSlashes::UnescapeAndRedirect),
            Normalized::Redirect("/a/b?q".to_owned())
        );
        assert_eq!(
            normalize("/a%2Fb", false, false, EscapedSlashes::RejectRequest),
            Normalized::RejectedEscapes("/a/b".to_owned())
        );
    }
}
