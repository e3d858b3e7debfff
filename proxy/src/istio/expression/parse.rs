//! Text to [`Expression`], by precedence.

use serde_json::Value;

use super::{Expression, Function, Operator};

/// Deeper nesting is refused, so that no input exhausts the stack.
const MAX_DEPTH: usize = 32;

/// Operators of one level of precedence, the loosest first; longer ones before those that they begin with.
const LEVELS: [&[(&str, Operator)]; 4] = [
    &[("||", Operator::Or)],
    &[("&&", Operator::And)],
    &[
        ("==", Operator::Equal),
        ("!=", Operator::NotEqual),
        ("<=", Operator::LessOrEqual),
        (">=", Operator::GreaterOrEqual),
        ("<", Operator::Less),
        (">", Operator::Greater),
        ("in ", Operator::In),
    ],
    &[("+", Operator::Add)],
];

pub(super) fn expression(text: &str) -> Result<Expression, String> {
    let mut parser = Parser {
        rest: text,
        whole: text,
        depth: 0,
    };
    let parsed = parser.conditional()?;
    match parser.peek() {
        None => Ok(parsed),
        Some(_) => Err(parser.unexpected()),
    }
}

struct Parser<'a> {
    rest: &'a str,
    whole: &'a str,
    depth: usize,
}

impl Parser<'_> {
    fn peek(&mut self) -> Option<char> {
        self.rest = self.rest.trim_start();
        self.rest.chars().next()
    }

    fn take(&mut self, token: &str) -> bool {
        self.peek();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn want(&mut self, token: &str) -> Result<(), String> {
        if self.take(token) {
            Ok(())
        } else {
            Err(self.unexpected())
        }
    }

    fn unexpected(&self) -> String {
        match self.rest {
            "" => format!("{:?} ends too early", self.whole),
            rest => format!("{:?} is not understood from {rest:?} on", self.whole),
        }
    }

    fn conditional(&mut self) -> Result<Expression, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!("{:?} is nested too deeply", self.whole));
        }
        let condition = self.binary(0)?;
        let parsed = if self.take("?") {
            let yes = self.conditional()?;
            self.want(":")?;
            let no = self.conditional()?;
            Expression::Conditional(Box::new([condition, yes, no]))
        } else {
            condition
        };
        self.depth -= 1;
        Ok(parsed)
    }

    fn binary(&mut self, level: usize) -> Result<Expression, String> {
        let Some(operators) = LEVELS.get(level) else {
            return self.unary();
        };
        let mut left = self.binary(level + 1)?;
        while let Some((_, operator)) = operators.iter().find(|(token, _)| self.take(token)) {
            let right = self.binary(level + 1)?;
            left = Expression::Binary(*operator, Box::new(left), Box::new(right));
        }
        Ok(left)
    }

    fn unary(&mut self) -> Result<Expression, String> {
        if self.take("!") {
            return Ok(Expression::Not(Box::new(self.unary()?)));
        }
        let mut parsed = self.primary()?;
        loop {
            if self.take(".") {
                let name = self.name()?;
                parsed = if self.take("(") {
                    let mut arguments = vec![parsed];
                    arguments.extend(self.list(")")?);
                    self.call(&name, arguments)?
                } else {
                    Expression::Member(Box::new(parsed), Box::new(Expression::Literal(name.into())))
                };
            } else if self.take("[") {
                let key = self.conditional()?;
                self.want("]")?;
                parsed = Expression::Member(Box::new(parsed), Box::new(key));
            } else {
                return Ok(parsed);
            }
        }
    }

    fn primary(&mut self) -> Result<Expression, String> {
        match self.peek() {
            Some('(') => {
                self.want("(")?;
                let inner = self.conditional()?;
                self.want(")")?;
                Ok(inner)
            }
            Some('[') => {
                self.want("[")?;
                Ok(Expression::List(self.list("]")?))
            }
            Some('"' | '\'') => self.string(),
            Some(c) if c.is_ascii_digit() || c == '-' => self.number(),
            Some(c) if c.is_ascii_alphabetic() || c == '_' => {
                let name = self.name()?;
                if self.take("(") {
                    let arguments = self.list(")")?;
                    return self.call(&name, arguments);
                }
                Ok(match name.as_str() {
                    "true" => Expression::Literal(true.into()),
                    "false" => Expression::Literal(false.into()),
                    "null" => Expression::Literal(Value::Null),
                    _ => Expression::Name(name.into()),
                })
            }
            _ => Err(self.unexpected()),
        }
    }

    /// Elements up to `end`, whose opening was read.
    fn list(&mut self, end: &str) -> Result<Vec<Expression>, String> {
        let mut all = Vec::new();
        while !self.take(end) {
            if !all.is_empty() {
                self.want(",")?;
            }
            all.push(self.conditional()?);
        }
        Ok(all)
    }

    fn call(&self, name: &str, arguments: Vec<Expression>) -> Result<Expression, String> {
        let (function, count) = match name {
            "has" => (Function::Has, 1),
            "string" => (Function::Text, 1),
            "int" | "uint" => (Function::Int, 1),
            "size" => (Function::Size, 1),
            "startsWith" => (Function::StartsWith, 2),
            "endsWith" => (Function::EndsWith, 2),
            "contains" => (Function::Contains, 2),
            _ => return Err(format!("{:?} calls {name}, which Pillion does not know", self.whole)),
        };
        if arguments.len() != count {
            return Err(format!("{:?}: {name} takes {count} arguments", self.whole));
        }
        Ok(Expression::Call(function, arguments))
    }

    fn name(&mut self) -> Result<String, String> {
        self.peek();
        let end = self
            .rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .unwrap_or(self.rest.len());
        if end == 0 {
            return Err(self.unexpected());
        }
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        Ok(name.to_owned())
    }

    fn number(&mut self) -> Result<Expression, String> {
        let digits = |c: char| !(c.is_ascii_digit() || c == '.');
        let sign = usize::from(self.rest.starts_with('-'));
        let end = self.rest[sign..].find(digits).map_or(self.rest.len(), |at| at + sign);
        let (text, rest) = self.rest.split_at(end);
        let value = match text.parse::<i64>() {
            Ok(whole) => whole.into(),
            Err(_) => text.parse::<f64>().map_err(|_| self.unexpected())?.into(),
        };
        // `5u` is unsigned.
        self.rest = rest.strip_prefix('u').unwrap_or(rest);
        Ok(Expression::Literal(value))
    }

    fn string(&mut self) -> Result<Expression, String> {
        let mut chars = self.rest.char_indices();
        let quote = chars.next().map(|(_, c)| c);
        let mut text = String::new();
        while let Some((at, c)) = chars.next() {
            match c {
                c if Some(c) == quote => {
                    self.rest = &self.rest[at + 1..];
                    return Ok(Expression::Literal(text.into()));
                }
                '\\' => match chars.next().map(|(_, c)| c) {
                    Some('n') => text.push('\n'),
                    Some('t') => text.push('\t'),
                    Some(c @ ('\\' | '"' | '\'')) => text.push(c),
                    _ => return Err(self.unexpected()),
                },
                c => text.push(c),
            }
        }
        Err(format!("{:?} ends within a string", self.whole))
    }
}
