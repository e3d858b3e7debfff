//! Where in a resource the parser is: every rejection and every note knows its field path, and building one costs nothing
//! until something is wrong.

use std::{
    cell::RefCell,
    fmt::{self, Write},
    sync::Arc,
};

use xds_api::inspect::FindingKind;

use super::{
    Context,
    dependencies::Dependencies,
    notes::Note,
    rejection::Rejection,
    source::{ConfigSource, Sources},
};
use crate::stats::{Group, Prefix, Scope as StatsScope, Store};

/// What the parser of one resource gathers besides the result.
pub(crate) struct Scope {
    kind: &'static str,
    name: Box<str>,
    /// (path without indices, note), in the order of the resource.
    notes: RefCell<Vec<(Box<str>, Note)>>,
    dependencies: RefCell<Dependencies>,
    stats: Store,
    sources: Sources,
    reject_unknown_fields: bool,
}

impl Scope {
    pub(crate) fn new(kind: &'static str, name: &str, context: &Context) -> Self {
        Self {
            kind,
            name: name.into(),
            notes: RefCell::default(),
            dependencies: RefCell::default(),
            stats: context.stats.clone(),
            sources: context.sources.clone(),
            reject_unknown_fields: context.reject_unknown_fields,
        }
    }

    pub(crate) fn root(&self) -> At<'_> {
        At {
            up: None,
            step: Step::Root,
            scope: self,
        }
    }

    /// Hands over what was gathered. Called for resources that were accepted: a rejected one has only its rejection to tell.
    pub(crate) fn finish(self, context: &mut Context) -> Dependencies {
        for (field, note) in self.notes.into_inner() {
            context.notes.add(field, note);
        }
        self.dependencies.into_inner()
    }
}

/// One place in the resource that is being parsed.
#[derive(Clone, Copy)]
pub(crate) struct At<'a> {
    up: Option<&'a Self>,
    step: Step<'a>,
    scope: &'a Scope,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Root,
    Field(&'static str),
    Item(&'static str, usize),
    Entry(&'static str, &'a str),
}

impl<'a> At<'a> {
    /// A field, or several that follow each other (`filter_chain_match.server_names`).
    pub(crate) fn field(&'a self, name: &'static str) -> Self {
        self.step(Step::Field(name))
    }

    /// An element of a repeated field.
    pub(crate) fn item(&'a self, name: &'static str, index: usize) -> Self {
        self.step(Step::Item(name, index))
    }

    /// A value of a map.
    pub(crate) fn entry(&'a self, name: &'static str, key: &'a str) -> Self {
        self.step(Step::Entry(name, key))
    }

    fn step(&'a self, step: Step<'a>) -> Self {
        Self {
            up: Some(self),
            step,
            scope: self.scope,
        }
    }

    pub(crate) fn reject(&self, problem: impl fmt::Display) -> Rejection {
        Rejection {
            kind: self.scope.kind,
            name: self.scope.name.clone(),
            path: self.path(true),
            problem: problem.to_string().into(),
        }
    }

    /// Refuses bytes that break a constraint of Envoy's API: the first thing that Envoy looks at, too.
    pub(crate) fn conform(&self, type_name: &str, bytes: &[u8]) -> Result<(), Rejection> {
        if self.scope.reject_unknown_fields {
            let mut findings = xds_api::inspect::findings(type_name, bytes).into_iter();
            if let Some(unknown) = findings.find(|finding| finding.kind == FindingKind::Unknown) {
                return Err(self
                    .reject("")
                    .within(&unknown.path, "is a field that Pillion does not know"));
            }
        }
        xds_api::validate::check(type_name, bytes)
            .map_err(|violation| self.reject("").within(&violation.path, violation.problem))
    }

    pub(crate) fn note(&self, text: impl fmt::Display) {
        let note = Note {
            kind: self.scope.kind,
            name: self.scope.name.clone(),
            path: self.path(true),
            text: text.to_string().into(),
        };
        self.scope.notes.borrow_mut().push((self.path(false), note));
    }

    /// The stats that something in this resource owns.
    pub(crate) fn stats<S: StatsScope>(&self, prefix: Prefix) -> Group<S> {
        self.scope.stats.group(prefix)
    }

    /// The source that equals this one, if one is held, so that a thousand clusters hold one.
    pub(crate) fn shared(&self, source: ConfigSource) -> Arc<ConfigSource> {
        self.scope.sources.shared(source)
    }

    /// Where all stats live, for those that no part of the resource owns.
    pub(crate) fn store(&self) -> &Store {
        &self.scope.stats
    }

    /// Adds to what must be known before the resource may serve.
    pub(crate) fn depend(&self, add: impl FnOnce(&mut Dependencies)) {
        add(&mut self.scope.dependencies.borrow_mut());
    }

    pub(crate) fn path(&self, exact: bool) -> Box<str> {
        let mut path = String::new();
        self.write(&mut path, exact);
        path.into()
    }

    fn write(&self, path: &mut String, exact: bool) {
        if let Some(up) = self.up {
            up.write(path, exact);
        }
        let dot = if path.is_empty() { "" } else { "." };
        let written = match self.step {
            Step::Root | Step::Field("") => Ok(()),
            Step::Field(name) => write!(path, "{dot}{name}"),
            Step::Item(name, index) if exact => write!(path, "{dot}{name}[{index}]"),
            Step::Entry(name, key) if exact => write!(path, "{dot}{name}[{key:?}]"),
            Step::Item(name, _) | Step::Entry(name, _) => write!(path, "{dot}{name}[]"),
        };
        debug_assert!(written.is_ok(), "a String takes everything");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejection_knows_its_path_and_a_note_is_said_once() {
        let mut context = Context::for_tests();
        let scope = Scope::new("listener", "in", &context);
        let root = scope.root();
        for i in 0..3 {
            let chain = root.item("filter_chains", i);
            let metadata = chain.entry("metadata", "k");
            metadata.field("x.y").note("is not read");
            let rejection = metadata.reject("is bad");
            assert_eq!(
                rejection.to_string(),
                format!("listener \"in\": filter_chains[{i}].metadata[\"k\"]: is bad")
            );
        }
        scope.finish(&mut context);
        let said = context.notes.take();
        assert_eq!(said.len(), 1);
        assert_eq!(
            said[0].to_string(),
            "listener \"in\": filter_chains[0].metadata[\"k\"].x.y: is not read"
        );
        let bootstrap = Scope::new("bootstrap", "", &context);
        assert_eq!(bootstrap.root().reject("is empty").to_string(), "bootstrap: is empty");
    }
}
