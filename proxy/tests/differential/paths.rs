//! One canonical path: dots, double slashes, escapes and what cannot be a path.

use super::case::{Case, Suite, get, raw, request};

pub fn suite() -> Suite {
    let mut cases = vec![
        get("untouched by default", "/a/../b//c/%2e%2e/%2F"),
        get("a guarded path, encoded", "/%73ecret"),
        get("a guarded path behind dots", "/x/../secret"),
        get("dots normalised", "/a/./b/../c/").on("normal"),
        get("dots into the guarded path", "/x/../secret").on("normal"),
        get("escaped dots into the guarded path", "/x/%2e%2E/secret").on("normal"),
        get("escaped letters stay", "/%73ecret").on("normal"),
        get("dots above the root", "/../../a").on("normal"),
        get("dots at the end", "/a/b/..").on("normal"),
        get("query untouched by normalisation", "/a/../b?x=/c/../d//e").on("normal"),
        get("back slashes", "/a\\..\\b").on("normal"),
        get("slashes kept by normalisation", "/a//b///c").on("normal"),
        get("slashes merged", "//a//b///c?d=//e").on("merge"),
        get("slashes merged into the guarded path", "//secret").on("merge"),
        get("dots kept by merging", "/a/../secret").on("merge"),
        get("both", "//x//..//secret/").on("both"),
        get("lower case escapes", "/a%2fb%3a").on("both"),
        get("star as a path", "*"),
        request("star of OPTIONS", "OPTIONS", "*"),
        get("no leading slash", "a/b"),
    ];
    cases.extend(
        ["reject", "redirect", "forward", "keep"]
            .into_iter()
            .flat_map(escaped_slashes),
    );
    cases.extend(odd_bytes());
    Suite {
        name: "paths",
        bootstrap: include_str!("paths.yaml"),
        cases,
    }
}

fn escaped_slashes(action: &'static str) -> Vec<Case> {
    let names = match action {
        "reject" => [
            "escaped slash rejected",
            "escaped back slash rejected",
            "no escaped slash to reject",
        ],
        "redirect" => [
            "escaped slash redirected",
            "escaped back slash redirected",
            "no escaped slash to redirect",
        ],
        "forward" => [
            "escaped slash unescaped",
            "escaped back slash unescaped",
            "no escaped slash to unescape",
        ],
        _ => [
            "escaped slash kept",
            "escaped back slash kept",
            "no escaped slash to keep",
        ],
    };
    vec![
        get(names[0], "/a%2Fb/..%2fsecret?q=%2F").on(action),
        get(names[1], "/a%5Cb%5c").on(action),
        get(names[2], "/a/../b").on(action),
    ]
}

fn odd_bytes() -> Vec<Case> {
    let target = |name, target: &str| raw(name, format!("GET {target} HTTP/1.1\r\nhost: a.test\r\n\r\n"));
    vec![
        target("fragment", "/a#frag"),
        target("fragment after a query", "/a?q=1#frag"),
        target("NUL escaped", "/a%00b"),
        target("NUL escaped, normalised", "/a%00b").on("normal"),
        target("bad escape", "/a%zzb"),
        target("bad escape, normalised", "/a%zzb/../c").on("normal"),
        target("bytes above ASCII", "/caf\u{e9}"),
        target("bytes above ASCII, normalised", "/caf\u{e9}").on("normal"),
        target("quotes and brackets", "/a\"b<c>[d]{e}|^`"),
        target("quotes and brackets, normalised", "/a\"b<c>[d]{e}|^`").on("normal"),
        target("absolute form", "http://b.test/abs?x=1"),
        target("absolute form with a port", "http://b.test:81/abs"),
        target("absolute form without a path", "http://b.test"),
        target("absolute form with a query only", "http://b.test?x=1"),
        target("absolute form of https", "https://b.test/abs"),
        target("absolute form with user information", "http://u:p@b.test/abs"),
        target("absolute form of another scheme", "ftp://b.test/abs"),
        target("control byte", "/a\u{1}b"),
        target("tab", "/a\tb"),
    ]
}
