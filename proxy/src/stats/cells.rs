//! Blocks of counters that appear when first written.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// Cells of a block: with its marks a block is two cache lines, so that no two threads' cells share a line (and the
/// adjacent-line prefetcher of x86 joins none), and touching one counter of a cluster's hundred costs 128 bytes.
pub(super) const CELLS: usize = 15;

#[derive(Default)]
#[repr(align(128))]
pub(super) struct Block {
    cells: [AtomicU64; CELLS],
    /// A bit per cell: written since the start, even if its value is zero again.
    used: AtomicU32,
}

/// `rows` rows of blocks, each block made when one of its cells is first written.
pub(super) struct Table(Box<[OnceLock<Box<Block>>]>);

/// One cell of a table.
#[derive(Clone, Copy)]
pub(super) struct Cell<'a> {
    block: &'a Block,
    at: usize,
}

impl Table {
    pub(super) fn new(rows: usize, stats: usize) -> Self {
        Self((0..rows * stats.div_ceil(CELLS)).map(|_| OnceLock::new()).collect())
    }

    /// The cell of stat `index` of `stats` in `row`, made if it is not there.
    #[inline]
    pub(super) fn cell(&self, row: usize, stats: usize, index: usize) -> Cell<'_> {
        let block = self.0[row * stats.div_ceil(CELLS) + index / CELLS].get_or_init(Box::default);
        Cell {
            block,
            at: index % CELLS,
        }
    }

    /// The cell if it is there; for readers, who must not allocate what they only look at.
    pub(super) fn peek(&self, row: usize, stats: usize, index: usize) -> Option<Cell<'_>> {
        let block = self.0[row * stats.div_ceil(CELLS) + index / CELLS].get()?;
        Some(Cell {
            block,
            at: index % CELLS,
        })
    }
}

impl Cell<'_> {
    pub(super) fn value(&self) -> u64 {
        self.block.cells[self.at].load(Relaxed)
    }

    /// Counters need no mark: one that counted is not zero.
    pub(super) fn used(&self) -> bool {
        self.value() != 0 || self.block.used.load(Relaxed) & (1 << self.at) != 0
    }

    /// Adds on a row that this thread alone writes: no lock prefix, a few cycles instead of twenty.
    #[inline]
    pub(super) fn add_alone(&self, n: u64) {
        let cell = &self.block.cells[self.at];
        cell.store(cell.load(Relaxed).wrapping_add(n), Relaxed);
    }

    #[inline]
    pub(super) fn add(&self, n: u64) {
        self.block.cells[self.at].fetch_add(n, Relaxed);
    }

    pub(super) fn set(&self, value: u64) {
        self.block.cells[self.at].store(value, Relaxed);
    }

    /// Marks the cell as used; a store happens only the first time.
    #[inline]
    pub(super) fn mark(&self) {
        if self.block.used.load(Relaxed) & (1 << self.at) == 0 {
            self.block.used.fetch_or(1 << self.at, Relaxed);
        }
    }

    /// Takes a counter back to zero, keeping it used.
    pub(super) fn reset(&self) {
        if self.block.cells[self.at].swap(0, Relaxed) != 0 {
            self.mark();
        }
    }
}
