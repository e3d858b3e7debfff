//! Scoped routes: which route configuration a request belongs to, by a key that is made from its headers.

use std::{
    hash::{BuildHasher, Hash, Hasher},
    sync::Arc,
};

use hashbrown::{HashTable, hash_table::Entry};

use super::{RouteConfiguration, matcher::HeaderField, select::Trace};
use crate::{config::source::ConfigSource, http::message::RequestHead};

/// `ScopedRoutes` of a connection manager, parsed.
#[derive(Debug)]
pub struct ScopedRoutes {
    pub name: Arc<str>,
    pub key: ScopeKeyBuilder,
    pub source: ScopeSource,
}

#[derive(Debug)]
pub enum ScopeSource {
    Inline(Arc<Scopes>),
    /// By source, from the snapshot.
    Srds(Arc<ConfigSource>),
}

/// How a request's key is made: a fragment from each of these, or there is no key.
#[derive(Debug)]
pub struct ScopeKeyBuilder(pub Box<[FragmentBuilder]>);

/// `HeaderValueExtractor`. Of a header that comes more than once the first counts: clients may add others.
#[derive(Debug)]
pub struct FragmentBuilder {
    pub header: HeaderField,
    /// Splits the value into elements; empty: the value is one.
    pub element_separator: Box<str>,
    pub extract: Extract,
}

#[derive(Debug)]
pub enum Extract {
    /// The element with this number.
    Index(usize),
    /// What follows `separator` in the first element that begins with `key` and it.
    Element { separator: Box<str>, key: Box<str> },
}

/// One scope: requests with this key belong to these routes.
#[derive(Debug, Clone)]
pub struct Scope {
    pub name: Arc<str>,
    pub key: ScopeKey,
    pub routes: ScopeRoutes,
}

/// One text for each fragment.
pub type ScopeKey = Arc<[Box<str>]>;

#[derive(Debug, Clone)]
pub enum ScopeRoutes {
    Inline(Arc<RouteConfiguration>),
    /// By name, from the snapshot (RDS). On demand they may be there only after somebody asked for them.
    Named {
        name: Arc<str>,
        on_demand: bool,
    },
}

/// Scopes by key.
#[derive(Debug, Default)]
pub struct Scopes {
    table: HashTable<Arc<Scope>>,
    hasher: foldhash::fast::RandomState,
}

impl FragmentBuilder {
    fn extract<'a>(&'a self, request: &'a RequestHead) -> Option<&'a [u8]> {
        let value = self.header.first(request)?;
        let mut elements = split(value, self.element_separator.as_bytes());
        match &self.extract {
            Extract::Index(index) => elements.nth(*index),
            Extract::Element { separator, key } => elements.find_map(|element| {
                let mut parts = split_once(element, separator.as_bytes());
                (parts.next()? == key.as_bytes()).then(|| parts.next().unwrap_or_default())
            }),
        }
    }
}

/// The pieces between separators; an empty separator splits nothing.
fn split<'a>(value: &'a [u8], separator: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        let all = rest?;
        let at = find(all, separator);
        rest = at.map(|at| &all[at + separator.len()..]);
        Some(&all[..at.unwrap_or(all.len())])
    })
}

fn split_once<'a>(value: &'a [u8], separator: &[u8]) -> impl Iterator<Item = &'a [u8]> {
    let (head, tail) = match find(value, separator) {
        Some(at) => (&value[..at], Some(&value[at + separator.len()..])),
        None => (value, None),
    };
    std::iter::once(head).chain(tail)
}

fn find(value: &[u8], separator: &[u8]) -> Option<usize> {
    if separator.is_empty() {
        return None;
    }
    value.windows(separator.len()).position(|window| window == separator)
}

impl ScopeKeyBuilder {
    /// The key of a request; fragment by fragment, so that none is copied. `None` in place of one that it does not have.
    fn fragments<'a>(&'a self, request: &'a RequestHead) -> impl Iterator<Item = Option<&'a [u8]>> {
        self.0.iter().map(|builder| builder.extract(request))
    }
}

impl Scopes {
    /// # Errors
    /// The scope that has this key already.
    pub fn insert(&mut self, scope: Arc<Scope>) -> Result<(), Arc<Scope>> {
        let hash_of = |key: &ScopeKey| {
            let mut hasher = self.hasher.build_hasher();
            key.iter().for_each(|fragment| fragment.as_bytes().hash(&mut hasher));
            hasher.finish()
        };
        match self.table.entry(
            hash_of(&scope.key),
            |other| other.key == scope.key,
            |other| hash_of(&other.key),
        ) {
            Entry::Occupied(first) => Err(first.get().clone()),
            Entry::Vacant(free) => {
                free.insert(scope);
                Ok(())
            }
        }
    }

    pub fn len(&self) -> usize {
        self.table.len()
    }

    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Scope>> {
        self.table.iter()
    }

    /// The scope that a request belongs to. `None`: a fragment of its key is missing, or nobody has that key.
    pub fn select(
        &self,
        builder: &ScopeKeyBuilder,
        request: &RequestHead,
        trace: &mut impl Trace,
    ) -> Option<&Arc<Scope>> {
        let found = self.find(builder, request);
        trace.scope(builder, found.map(|scope| &**scope));
        found
    }

    fn find(&self, builder: &ScopeKeyBuilder, request: &RequestHead) -> Option<&Arc<Scope>> {
        let mut hasher = self.hasher.build_hasher();
        for fragment in builder.fragments(request) {
            fragment?.hash(&mut hasher);
        }
        let is_key = |scope: &Arc<Scope>| {
            let key = scope.key.iter().map(|fragment| Some(fragment.as_bytes()));
            key.eq(builder.fragments(request))
        };
        self.table.find(hasher.finish(), is_key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::message::Protocol;

    fn builder(header: &str, separator: &str, extract: Extract) -> FragmentBuilder {
        FragmentBuilder {
            header: HeaderField::Name(header.parse().unwrap()),
            element_separator: separator.into(),
            extract,
        }
    }

    fn request(value: &str) -> RequestHead {
        let mut request = RequestHead::unparsed(Protocol::Http11);
        request.headers.append("x-scope", value.parse().unwrap());
        request.headers.append("x-scope", "second".parse().unwrap());
        request
    }

    fn element(separator: &str, key: &str) -> Extract {
        Extract::Element {
            separator: separator.into(),
            key: key.into(),
        }
    }

    #[test]
    fn fragments_are_cut_out_as_envoy_cuts_them() {
        let cases = [
            ("", Extract::Index(0), "a,b", Some("a,b")),
            (",", Extract::Index(0), "a,b", Some("a")),
            (",", Extract::Index(1), "a,b", Some("b")),
            (",", Extract::Index(2), "a,b", None),
            (",", Extract::Index(1), "a,", Some("")),
            (";;", Extract::Index(1), "a;b;;c", Some("c")),
            (";", element("=", "k"), "j=1;k=2=3;k=4", Some("2=3")),
            (";", element("=", "k"), "j=1;k;k=4", Some("")),
            (";", element("=", "k"), "kk=1; k=2", None),
            ("", element("=", "k"), "k=1;j=2", Some("1;j=2")),
            (",", element("", "k"), "j,k", Some("")),
        ];
        for (separator, extract, value, wanted) in cases {
            let builder = builder("x-scope", separator, extract);
            let got = builder
                .extract(&request(value))
                .map(|f| std::str::from_utf8(f).unwrap().to_owned());
            assert_eq!(got.as_deref(), wanted, "{builder:?} of {value:?}");
        }
        assert_eq!(builder("x-other", ",", Extract::Index(0)).extract(&request("a")), None);
    }

    #[test]
    fn a_request_belongs_to_the_scope_with_all_of_its_key() {
        let scope = |name: &str, key: &[&str]| {
            Arc::new(Scope {
                name: name.into(),
                key: key.iter().map(|&fragment| fragment.into()).collect(),
                routes: ScopeRoutes::Named {
                    name: name.into(),
                    on_demand: false,
                },
            })
        };
        let mut scopes = Scopes::default();
        scopes.insert(scope("one", &["a"])).unwrap();
        scopes.insert(scope("two", &["a", "b"])).unwrap();
        scopes.insert(scope("joined", &["ab"])).unwrap();
        assert_eq!(*scopes.insert(scope("again", &["a", "b"])).unwrap_err().name, *"two");
        let first = || builder("x-scope", ",", Extract::Index(0));
        let second = || builder("x-scope", ",", Extract::Index(1));
        let found = |builders: Vec<FragmentBuilder>, value: &str| {
            let builder = ScopeKeyBuilder(builders.into());
            let found = scopes.select(&builder, &request(value), &mut ());
            found.map(|scope| scope.name.to_string())
        };
        assert_eq!(found(vec![first()], "a,b").as_deref(), Some("one"));
        assert_eq!(found(vec![first(), second()], "a,b").as_deref(), Some("two"));
        assert_eq!(found(vec![first()], "ab").as_deref(), Some("joined"));
        assert_eq!(found(vec![first(), second()], "a,c"), None);
        assert_eq!(found(vec![first(), second()], "a"), None, "a fragment is missing");
    }
}
