//! JSON as text: punctuation, indentation, escapes.

use std::io::{self, Write};

pub(super) struct Text<'w> {
    out: &'w mut dyn Write,
    pretty: bool,
    depth: usize,
    /// Nothing stands in the innermost container yet.
    empty: bool,
}

impl<'w> Text<'w> {
    pub(super) fn new(out: &'w mut dyn Write, pretty: bool) -> Self {
        Self {
            out,
            pretty,
            depth: 0,
            empty: true,
        }
    }

    /// `{` or `[`.
    pub(super) fn open(&mut self, bracket: &str) -> io::Result<()> {
        self.depth += 1;
        self.empty = true;
        self.raw(bracket)
    }

    /// `}` or `]`.
    pub(super) fn close(&mut self, bracket: &str) -> io::Result<()> {
        self.depth -= 1;
        if !std::mem::take(&mut self.empty) {
            self.new_line()?;
        }
        self.raw(bracket)
    }

    /// Before each element of a list.
    pub(super) fn item(&mut self) -> io::Result<()> {
        if !std::mem::take(&mut self.empty) {
            self.raw(",")?;
        }
        self.new_line()
    }

    /// Before each member of an object.
    pub(super) fn key(&mut self, key: &str) -> io::Result<()> {
        self.item()?;
        self.string(key)?;
        self.raw(if self.pretty { ": " } else { ":" })
    }

    pub(super) fn raw(&mut self, text: &str) -> io::Result<()> {
        self.out.write_all(text.as_bytes())
    }

    pub(super) fn string(&mut self, text: &str) -> io::Result<()> {
        self.raw("\"")?;
        let mut done = 0;
        for (at, c) in text.char_indices().filter(|(_, c)| is_escaped(*c)) {
            self.raw(&text[done..at])?;
            done = at + c.len_utf8();
            match c {
                '"' => self.raw("\\\"")?,
                '\\' => self.raw("\\\\")?,
                '\n' => self.raw("\\n")?,
                '\r' => self.raw("\\r")?,
                '\t' => self.raw("\\t")?,
                c => write!(self.out, "\\u{:04x}", u32::from(c))?,
            }
        }
        self.raw(&text[done..])?;
        self.raw("\"")
    }

    pub(super) fn double(&mut self, number: f64) -> io::Result<()> {
        /// From here on protobuf prints an exponent.
        const LARGE: f64 = 1e15;
        const SMALL: f64 = 1e-5;
        match number.abs() {
            _ if number.is_nan() => self.raw("\"NaN\""),
            f64::INFINITY => self.raw(if number > 0.0 { "\"Infinity\"" } else { "\"-Infinity\"" }),
            size if size != 0.0 && !(SMALL..LARGE).contains(&size) => write!(self.out, "{number:e}"),
            _ => write!(self.out, "{number}"),
        }
    }

    fn new_line(&mut self) -> io::Result<()> {
        if self.pretty {
            write!(self.out, "\n{:1$}", "", self.depth)?;
        }
        Ok(())
    }
}

/// What JSON requires, and angle brackets and line separators, which protobuf escapes too: a dump may be shown in a browser.
fn is_escaped(c: char) -> bool {
    c.is_control() || matches!(c, '"' | '\\' | '<' | '>' | '\u{2028}' | '\u{2029}' | '\u{feff}')
}
