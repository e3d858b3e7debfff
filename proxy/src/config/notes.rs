//! What was read and is not honoured, or skipped because it guards nothing: said once, by path.

use std::fmt;

use hashbrown::HashSet;

/// One thing that differs from what the config asks for, without making the resource unsafe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    pub kind: &'static str,
    /// The first resource that had it.
    pub name: Box<str>,
    pub path: Box<str>,
    pub text: Box<str>,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind)?;
        if !self.name.is_empty() {
            write!(f, " {:?}", self.name)?;
        }
        write!(f, ": {}: {}", self.path, self.text)
    }
}

/// Collects notes over the life of the process. Ten thousand clusters with the same unread field make one note.
#[derive(Debug, Default)]
pub struct Notes {
    /// (kind, path without indices and keys, text).
    said: HashSet<(&'static str, Box<str>, Box<str>)>,
    fresh: Vec<Note>,
}

impl Notes {
    /// The notes that came since the last call.
    pub fn take(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.fresh)
    }

    pub(super) fn add(&mut self, field: Box<str>, note: Note) {
        if self.said.insert((note.kind, field, note.text.clone())) {
            self.fresh.push(note);
        }
    }
}
