//! The shape of a table, and the macro that makes a scope's enum from its list.

/// What a stat is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
    TextReadout,
}

/// One stat of a scope.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// The name under the scope's prefix.
    pub name: &'static str,
    pub kind: Kind,
    /// Envoy makes it when it first happens (`upstream_rq_2xx`): absent from `/stats` until then.
    pub lazy: bool,
    /// Shown per worker too (`worker_0.downstream_cx_active`), from the worker's own cell.
    pub per_worker: bool,
}

/// A scope's stats. An index counts through the per-thread cells, the shared cells, the histograms, the texts and the
/// families, in this order.
#[derive(Debug)]
pub struct Schema {
    /// Tells tables apart; unique.
    pub id: &'static str,
    /// Counters and gauges of which every thread has its own cell: those that a request or a connection touches.
    pub per_thread: &'static [Spec],
    /// Counters and gauges with one cell for all: rare ones, and gauges that are set.
    pub shared: &'static [Spec],
    pub histograms: &'static [Spec],
    pub texts: &'static [Spec],
    /// Stems of counters whose names end with what happened: `upstream_rq_` + `200`, `ssl.ciphers.` + a cipher.
    pub families: &'static [&'static str],
    /// How the names begin that deferred creation hides until one of them is written.
    pub deferred: &'static [&'static str],
}

impl Schema {
    pub(in crate::stats) fn first_shared(&self) -> usize {
        self.per_thread.len()
    }

    pub(in crate::stats) fn first_histogram(&self) -> usize {
        self.first_shared() + self.shared.len()
    }

    pub(in crate::stats) fn first_text(&self) -> usize {
        self.first_histogram() + self.histograms.len()
    }

    pub(in crate::stats) fn first_family(&self) -> usize {
        self.first_text() + self.texts.len()
    }

    /// The stat at `index`; `None` for a family.
    pub(in crate::stats) fn spec(&self, index: usize) -> Option<&'static Spec> {
        let parts = [self.per_thread, self.shared, self.histograms, self.texts];
        parts.into_iter().flatten().nth(index)
    }
}

/// A scope's enum of stats.
pub trait Scope: Copy + 'static {
    const SCHEMA: &'static Schema;

    /// The stat's place in the schema.
    fn index(self) -> usize;
}

impl Spec {
    const fn new(name: &'static str, kind: Kind, lazy: bool, per_worker: bool) -> Self {
        Self {
            name,
            kind,
            lazy,
            per_worker,
        }
    }

    pub const fn counter(name: &'static str) -> Self {
        Self::new(name, Kind::Counter, false, false)
    }

    pub const fn gauge(name: &'static str) -> Self {
        Self::new(name, Kind::Gauge, false, false)
    }

    pub const fn lazy_counter(name: &'static str) -> Self {
        Self::new(name, Kind::Counter, true, false)
    }

    pub const fn lazy_gauge(name: &'static str) -> Self {
        Self::new(name, Kind::Gauge, true, false)
    }

    pub const fn worker_counter(name: &'static str) -> Self {
        Self::new(name, Kind::Counter, false, true)
    }

    pub const fn worker_gauge(name: &'static str) -> Self {
        Self::new(name, Kind::Gauge, false, true)
    }

    pub const fn histogram(name: &'static str) -> Self {
        Self::new(name, Kind::Histogram, false, false)
    }

    pub const fn lazy_histogram(name: &'static str) -> Self {
        Self::new(name, Kind::Histogram, true, false)
    }

    pub const fn text(name: &'static str) -> Self {
        Self::new(name, Kind::TextReadout, true, false)
    }
}

/// `schema! { /// doc  Name { per_thread { counter A "a", } shared { .. } histograms { .. } texts { .. } families { .. } } }`;
/// sections may be left out, never reordered.
macro_rules! schema {
    ($(#[$doc:meta])* $name:ident {
        $(per_thread { $($cell_kind:ident $cell:ident $cell_name:literal,)* })?
        $(shared { $($shared_kind:ident $shared:ident $shared_name:literal,)* })?
        $(histograms { $($histogram_kind:ident $histogram:ident $histogram_name:literal,)* })?
        $(texts { $($text_kind:ident $text:ident $text_name:literal,)* })?
        $(families { $($family:ident $stem:literal,)* })?
        $(deferred { $($deferred:literal,)* })?
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($($cell,)*)? $($($shared,)*)? $($($histogram,)*)? $($($text,)*)? $($($family,)*)?
        }

        impl $crate::stats::schema::Scope for $name {
            const SCHEMA: &'static $crate::stats::schema::Schema = &$crate::stats::schema::Schema {
                id: stringify!($name),
                per_thread: &[$($($crate::stats::schema::Spec::$cell_kind($cell_name),)*)?],
                shared: &[$($($crate::stats::schema::Spec::$shared_kind($shared_name),)*)?],
                histograms: &[$($($crate::stats::schema::Spec::$histogram_kind($histogram_name),)*)?],
                texts: &[$($($crate::stats::schema::Spec::$text_kind($text_name),)*)?],
                families: &[$($($stem,)*)?],
                deferred: &[$($($deferred,)*)?],
            };

            #[inline]
            fn index(self) -> usize {
                self as usize
            }
        }
    };
}
