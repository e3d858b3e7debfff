//! Sources of config by number, so that what they serve can be told apart cheaply.

use crate::config::source::{ConfigSource, SourceSpecifier};

/// One source. Two `ConfigSource`s that name the same server the same way are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OriginId(u32);

/// The sources that were ever named. They are few: a mesh has one or two.
#[derive(Debug, Default)]
pub struct Origins(Vec<SourceSpecifier>);

impl OriginId {
    /// The bootstrap: nothing is fetched.
    pub const STATIC: Self = Self(0);
}

impl Origins {
    pub fn id(&mut self, source: &ConfigSource) -> OriginId {
        self.find(source).unwrap_or_else(|| {
            self.0.push(source.specifier.clone());
            OriginId(self.0.len() as u32)
        })
    }

    /// `None`: it was never asked for a number.
    pub fn find(&self, source: &ConfigSource) -> Option<OriginId> {
        self.find_specifier(&source.specifier)
    }

    pub fn find_specifier(&self, specifier: &SourceSpecifier) -> Option<OriginId> {
        let index = self.0.iter().position(|s| s == specifier)?;
        Some(OriginId(index as u32 + 1))
    }

    /// `None`: the bootstrap.
    pub fn get(&self, id: OriginId) -> Option<&SourceSpecifier> {
        self.0.get((id.0 as usize).checked_sub(1)?)
    }
}
