//! Where tokens stand in a request.

use std::borrow::Cow;

use http::{HeaderName, HeaderValue, header};

use super::Provider;
use crate::http::message::RequestHead;

/// A token, and where it was found.
#[derive(Debug, Clone)]
pub(super) struct Token<'r> {
    pub(super) text: Cow<'r, str>,
    pub(super) place: Place,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// And the prefix of the token.
    Header(Box<str>, Box<str>),
    Param(Box<str>),
    Cookie(Box<str>),
}

/// The tokens at the places that the providers name, each with the providers that named its place.
pub(super) fn tokens<'r>(providers: &[(usize, &Provider)], request: &'r RequestHead) -> Vec<(Token<'r>, Vec<usize>)> {
    let mut places: Vec<(Place, Vec<usize>)> = Vec::new();
    for (index, provider) in providers {
        for place in provider.places() {
            match places.iter_mut().find(|(known, _)| *known == place) {
                Some((_, named)) => named.push(*index),
                None => places.push((place, vec![*index])),
            }
        }
    }
    // Envoy's order: headers, parameters, cookies, each by name.
    places.sort();
    let mut tokens = Vec::new();
    for (place, named) in places {
        for text in place.find(request) {
            let place = place.clone();
            tokens.push((Token { text, place }, named.clone()));
        }
    }
    tokens
}

impl Provider {
    fn places(&self) -> Vec<Place> {
        if self.from_headers.is_empty() && self.from_params.is_empty() && self.from_cookies.is_empty() {
            let bearer = Place::Header(header::AUTHORIZATION.as_str().into(), "Bearer ".into());
            return vec![bearer, Place::Param("access_token".into())];
        }
        let headers = self.from_headers.iter();
        let headers = headers.map(|from| Place::Header(from.name.as_str().into(), from.value_prefix.clone()));
        let params = self.from_params.iter().cloned().map(Place::Param);
        let cookies = self.from_cookies.iter().cloned().map(Place::Cookie);
        headers.chain(params).chain(cookies).collect()
    }
}

impl Place {
    fn find<'r>(&self, request: &'r RequestHead) -> Vec<Cow<'r, str>> {
        match self {
            Self::Header(name, prefix) => {
                let values = request.headers.get_all(&**name).iter();
                let values = values.filter_map(|value| value.to_str().ok());
                values
                    .filter_map(|value| after(value, prefix))
                    .map(Cow::Borrowed)
                    .collect()
            }
            Self::Param(name) => {
                let mut pairs = request.query().unwrap_or_default().split('&');
                pairs.find_map(|pair| {
                    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decoded(key) == **name).then(|| decoded(value))
                })
            }
            .into_iter()
            .collect(),
            Self::Cookie(name) => cookie(request, name).map(Cow::Borrowed).into_iter().collect(),
        }
    }

    /// Takes the token out of the request; cookies stay, as in Envoy.
    pub(super) fn remove(&self, request: &mut RequestHead) {
        match self {
            Self::Header(name, _) => {
                if let Ok(name) = name.parse::<HeaderName>() {
                    request.headers.remove(name);
                }
            }
            Self::Param(name) => {
                let Some((path, query)) = request.path_str().split_once('?') else {
                    return;
                };
                let kept: Vec<_> = query
                    .split('&')
                    .filter(|pair| decoded(pair.split_once('=').map_or(pair, |(key, _)| key)) != **name)
                    .collect();
                let path = match kept.is_empty() {
                    true => path.to_owned(),
                    false => format!("{path}?{}", kept.join("&")),
                };
                if let Ok(path) = HeaderValue::try_from(path) {
                    request.path = path;
                }
            }
            Self::Cookie(_) => {}
        }
    }
}

/// The token behind `prefix`, wherever that stands; characters that no token has are passed over.
fn after<'v>(value: &'v str, prefix: &str) -> Option<&'v str> {
    if prefix.is_empty() {
        return Some(value);
    }
    let start = value.find(prefix)? + prefix.len();
    let in_token = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    match value[start..].find(in_token) {
        Some(first) => Some(&value[start + first..]),
        None => Some(value),
    }
}

fn cookie<'r>(request: &'r RequestHead, name: &str) -> Option<&'r str> {
    let values = request.headers.get_all(header::COOKIE).iter();
    let values = values.filter_map(|value| value.to_str().ok());
    let mut cookies = values.flat_map(|value| value.split(';'));
    cookies.find_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        let bare = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
        (key == name).then(|| bare.unwrap_or(value))
    })
}

/// `%XX` decoded; what is no such thing stays.
fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let (mut out, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((first, more)) = rest.split_first() {
        let digit = |at: usize| more.get(at).and_then(|b| (*b as char).to_digit(16));
        match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                rest = &more[2..];
            }
            _ => {
                out.push(*first);
                rest = more;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::message::Protocol;

    fn request(path: &'static str) -> RequestHead {
        let mut request = RequestHead::unparsed(Protocol::Http11);
        request.path = HeaderValue::from_static(path);
        let cookies = HeaderValue::from_static("a=1; token=\"x.y.z\"");
        request.headers.insert(header::COOKIE, cookies);
        request
    }

    #[test]
    fn tokens_are_found_at_their_places() {
        let request = request("/p?a=b&access_token=x%2Ey&c");
        let found = |place: Place| {
            place
                .find(&request)
                .into_iter()
                .map(Cow::into_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(found(Place::Param("access_token".into())), ["x.y"]);
        assert_eq!(found(Place::Cookie("token".into())), ["x.y.z"]);
        assert!(found(Place::Param("none".into())).is_empty());
        assert_eq!(after("Bearer   x.y", "Bearer "), Some("x.y"));
        assert_eq!(after("Basic x", "Bearer "), None);
    }

    #[test]
    fn a_parameter_is_taken_out_of_the_path() {
        let removed = |path| {
            let mut request = request(path);
            Place::Param("t".into()).remove(&mut request);
            request.path_str().to_owned()
        };
        assert_eq!(removed("/p?t=1"), "/p");
        assert_eq!(removed("/p?a=b&t=1&c=d&t=2"), "/p?a=b&c=d");
        assert_eq!(removed("/p"), "/p");
    }
}
