//! Path templates (`/users/{id}/**`), compiled to regular expressions. Source: Envoy's docs, `UriTemplateMatchConfig`.

use super::Regex;

/// What a path segment may hold: RFC 3986's `pchar` without `*` and `=`, which are the template's own.
const LITERAL: &str = "a-zA-Z0-9\\-._~%!$&'()+,;:@";
/// More captures than these Envoy refuses.
const MAX_VARIABLES: usize = 5;
const MAX_NAME: usize = 16;

/// # Errors
/// A sentence that says what is wrong.
pub fn compile(template: &str) -> Result<Regex, String> {
    let mut rest = template.strip_prefix('/').ok_or("it does not begin with a slash")?;
    let mut compiler = Compiler::default();
    let mut pattern = String::from("/");
    while !rest.is_empty() {
        rest = compiler.segment(rest, &mut pattern)?;
        if rest.is_empty() {
            break;
        }
        match rest.strip_prefix('/') {
            Some(more) => {
                pattern.push('/');
                rest = more;
            }
            // What follows `*` or `}` in a segment is literal, and the template's end.
            None => {
                literal(rest, &mut pattern)?;
                break;
            }
        }
    }
    Regex::new(&pattern)
}

#[derive(Default)]
struct Compiler<'t> {
    names: Vec<&'t str>,
    /// `**` takes all that follows: no other operator may come after it.
    text_glob: bool,
}

impl<'t> Compiler<'t> {
    /// Writes one segment; what is left of the template.
    fn segment(&mut self, rest: &'t str, pattern: &mut String) -> Result<&'t str, String> {
        if let Some(variable) = rest.strip_prefix('{') {
            let (inner, rest) = variable.split_once('}').ok_or("a { has no }")?;
            let (name, matched) = match inner.split_once('=') {
                Some((_, "")) => return Err("a variable has nothing after its =".into()),
                Some((name, matched)) => (name, matched),
                None => (inner, "*"),
            };
            self.name(name)?;
            for (i, part) in matched.split('/').enumerate() {
                if i > 0 {
                    pattern.push('/');
                }
                let left = self.segment_part(part, pattern)?;
                if !left.is_empty() {
                    return Err(format!("the variable {name:?} has {left:?} after its *"));
                }
            }
            return Ok(rest);
        }
        let end = rest.find('/').unwrap_or(rest.len());
        let left = self.segment_part(&rest[..end], pattern)?;
        Ok(&rest[end - left.len()..])
    }

    fn segment_part<'p>(&mut self, part: &'p str, pattern: &mut String) -> Result<&'p str, String> {
        let (glob, left) = match (part.strip_prefix("**"), part.strip_prefix('*')) {
            (Some(left), _) => (format!("[{LITERAL}/]*"), left),
            (None, Some(left)) => (format!("[{LITERAL}]+"), left),
            (None, None) => {
                literal(part, pattern)?;
                return Ok("");
            }
        };
        if self.text_glob {
            return Err("nothing but literals may follow **".into());
        }
        self.text_glob = part.starts_with("**");
        pattern.push_str(&glob);
        Ok(left)
    }

    fn name(&mut self, name: &'t str) -> Result<(), String> {
        let fits = name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && name.len() <= MAX_NAME;
        if !fits {
            return Err(format!(
                "{name:?} is no variable's name of at most {MAX_NAME} characters"
            ));
        }
        if self.names.contains(&name) {
            return Err(format!("the variable {name:?} stands there twice"));
        }
        if self.names.len() == MAX_VARIABLES {
            return Err(format!("it has more than {MAX_VARIABLES} variables"));
        }
        self.names.push(name);
        Ok(())
    }
}

fn literal(text: &str, pattern: &mut String) -> Result<(), String> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~%!$&'()+,;:@".contains(&b);
    if text.is_empty() || !text.bytes().all(allowed) {
        return Err(format!("{text:?} is no literal"));
    }
    for c in text.chars() {
        if !c.is_ascii_alphanumeric() {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_match_segments() {
        let matches = |template: &str, path: &str| compile(template).unwrap().is_full_match(path.as_bytes());
        assert!(matches("/foo/{*}/bar".replace("{*}", "*").as_str(), "/foo/1/bar"));
        assert!(!matches("/foo/*/bar", "/foo/1/2/bar"));
        assert!(!matches("/foo/*/bar", "/foo//bar"));
        assert!(matches("/foo/**", "/foo/1/2") && matches("/foo/**", "/foo/"));
        assert!(matches("/a/{id}/b", "/a/x/b"));
        assert!(matches("/a/{rest=**}.m3u8", "/a/b/c.m3u8"));
        assert!(matches("/a/{rest=x/*}", "/a/x/y") && !matches("/a/{rest=x/*}", "/a/y/y"));
        assert!(matches("/a.b+c", "/a.b+c") && !matches("/a.b", "/axb"));
        assert!(matches("/", "/"));
        assert!(matches("/a/", "/a/") && !matches("/a/", "/a"));
    }

    #[test]
    fn bad_templates_say_what_is_wrong() {
        let problem = |template: &str| compile(template).unwrap_err();
        assert!(problem("a").contains("slash"));
        assert!(problem("/{a").contains("has no }"));
        assert!(problem("/{a}/{a}").contains("twice"));
        assert!(problem("/**/*").contains("follow **"));
        assert!(problem("/{1a}").contains("name"));
        assert!(problem("/a//b").contains("literal"));
        assert!(problem("/a*b").contains("literal"));
    }
}
