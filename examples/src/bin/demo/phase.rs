//! The demo's parts, in their order.

use std::fmt;

/// Which part of the demo a request belongs to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    #[default]
    Start,
    Canary,
    Even,
    Rotation,
    Overload,
    Recovery,
    Kill,
}

/// The share of each version, in percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Weights {
    pub(crate) v1: u32,
    pub(crate) v2: u32,
}

impl Weights {
    pub(crate) fn label(self) -> String {
        format!("{}/{}", self.v1, self.v2)
    }
}

impl Phase {
    pub(crate) const ALL: [Self; 7] = [
        Self::Start,
        Self::Canary,
        Self::Even,
        Self::Rotation,
        Self::Overload,
        Self::Recovery,
        Self::Kill,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Canary => "weights 90/10",
            Self::Even => "weights 50/50",
            Self::Rotation => "rotation",
            Self::Overload => "overload",
            Self::Recovery => "recovery",
            Self::Kill => "kill",
        }
    }

    /// What happens in it, for the one who watches.
    pub(crate) fn sentence(self) -> &'static str {
        match self {
            Self::Start => "four sidecars take their configuration over ADS",
            Self::Canary => "web sends 90 % to api v1 and 10 % to v2",
            Self::Even => "one push later: half and half",
            Self::Rotation => "every certificate is replaced, and the CA behind them, under load",
            Self::Overload => "v2 becomes slow and 96 more clients want it: its circuit breaker opens",
            Self::Recovery => "v2 is fast again, the clients leave: the breaker closes",
            Self::Kill => "one of v2's two instances is killed: outlier detection ejects it",
        }
    }

    pub(crate) fn weights(self) -> Weights {
        match self {
            Self::Start | Self::Canary => Weights { v1: 90, v2: 10 },
            _ => Weights { v1: 50, v2: 50 },
        }
    }

    /// Requests may fail here, and only here: those that begin or end in it.
    pub(crate) fn may_fail(self) -> bool {
        matches!(self, Self::Overload | Self::Kill)
    }

    /// Its part of the time that is left once the mesh is up.
    pub(crate) fn share(self) -> f64 {
        match self {
            Self::Start => 0.0,
            Self::Canary | Self::Even => 0.26,
            Self::Rotation => 0.22,
            Self::Overload => 0.10,
            Self::Recovery => 0.05,
            Self::Kill => 0.11,
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
