//! From text to parts: `%NAME(argument):length%`, `%%` for a percent sign.

use super::{Formatters, Part, operator::Operator};

pub(super) fn parts(text: &str, formatters: Formatters) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        literal.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            literal.push('%');
            rest = after;
            continue;
        }
        let (name, argument, max_length, after) = command(rest, text)?;
        if !literal.is_empty() {
            parts.push(Part::Text(std::mem::take(&mut literal).into()));
        }
        let operator = Operator::parse(name, argument, max_length.is_some())
            .and_then(|operator| operator.admitted(formatters))
            .map_err(|why| format!("format {text:?}: %{name}%: {why}"))?;
        parts.push(Part::Operator { operator, max_length });
        rest = after;
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        parts.push(Part::Text(literal.into()));
    }
    Ok(parts)
}

type Command<'a> = (&'a str, Option<&'a str>, Option<usize>, &'a str);

/// Splits `NAME(argument):length%rest`.
fn command<'a>(rest: &'a str, whole: &str) -> Result<Command<'a>, String> {
    let unclosed = || format!("format {whole:?}: a % has no closing %; write %% for a percent sign");
    let end = rest
        .find(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'))
        .ok_or_else(unclosed)?;
    let (name, mut rest) = rest.split_at(end);
    let mut argument = None;
    if let Some(inner) = rest.strip_prefix('(') {
        // The argument may hold parentheses of its own: it ends at the `)` before `%` or `:length%`.
        let close = closing(inner).ok_or_else(unclosed)?;
        argument = Some(&inner[..close]);
        rest = &inner[close + 1..];
    }
    let mut max_length = None;
    if let Some(after) = rest.strip_prefix(':') {
        let end = after.find('%').ok_or_else(unclosed)?;
        max_length = Some(
            after[..end]
                .parse()
                .map_err(|_| format!("format {whole:?}: {:?} is no length", &after[..end]))?,
        );
        rest = &after[end..];
    }
    let after = rest.strip_prefix('%').ok_or_else(unclosed)?;
    if name.is_empty() {
        return Err(unclosed());
    }
    Ok((name, argument, max_length, after))
}

fn closing(inner: &str) -> Option<usize> {
    inner.match_indices(')').map(|(i, _)| i).find(|i| {
        let after = &inner[i + 1..];
        after.starts_with('%')
            || after
                .strip_prefix(':')
                .and_then(|a| a.split_once('%'))
                .is_some_and(|(n, _)| n.parse::<usize>().is_ok())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_operators_and_lengths() {
        let parts = |text| parts(text, Formatters::default());
        let parts = parts("a %REQ(:METHOD)% 100%% %REQ(X-A?X-B):10%z").unwrap();
        assert_eq!(parts.len(), 5);
        assert!(matches!(
            &parts[3],
            Part::Operator {
                max_length: Some(10),
                ..
            }
        ));
    }

    #[test]
    fn mistakes_are_named() {
        let parts = |text| parts(text, Formatters::default());
        assert!(parts("%NONSENSE%").unwrap_err().contains("NONSENSE"));
        assert!(parts("%REQ(").unwrap_err().contains("closing"));
        assert!(parts("%REQ%").is_err());
        assert!(parts("%REQ(a?b?c)%").is_err());
        assert!(parts("%PROTOCOL(x)%").is_err());
        assert!(parts("%PROTOCOL:3%").is_err());
        assert!(parts("%REQ_WITHOUT_QUERY(:PATH)%").is_err());
    }
}
