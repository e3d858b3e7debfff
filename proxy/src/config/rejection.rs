//! Why a resource is not taken.

use std::fmt;

/// A resource that cannot be honoured as written. The last good version of it stays in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// What kind of resource: `listener`, `cluster`, `route configuration`...
    pub kind: &'static str,
    /// The resource's name; empty where it has none (the bootstrap).
    pub name: Box<str>,
    /// From the resource's root: `filter_chains[0].filters[1].typed_config.stat_prefix`; empty: the resource as a whole.
    pub path: Box<str>,
    /// What is wrong with which value, and what to write instead.
    pub problem: Box<str>,
}

impl Rejection {
    /// The same resource, at a place below this one.
    pub fn within(&self, path: &str, problem: impl fmt::Display) -> Self {
        let dot = if self.path.is_empty() || path.is_empty() {
            ""
        } else {
            "."
        };
        Self {
            path: format!("{}{dot}{path}", self.path).into(),
            problem: problem.to_string().into(),
            ..self.clone()
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind)?;
        if !self.name.is_empty() {
            write!(f, " {:?}", self.name)?;
        }
        if !self.path.is_empty() {
            write!(f, ": {}", self.path)?;
        }
        write!(f, ": {}", self.problem)
    }
}

impl std::error::Error for Rejection {}

/// Everything that is wrong with a bootstrap, so that one run shows all of it. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejections(pub Vec<Rejection>);

impl From<Rejection> for Rejections {
    fn from(rejection: Rejection) -> Self {
        Self(vec![rejection])
    }
}

/// One sentence a line.
impl fmt::Display for Rejections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, rejection) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            rejection.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Rejections {}
