//! Reads the few .proto files that we write ourselves, so that the build needs no protoc: packages, messages, enums, oneofs,
//! maps and fields, without imports, options (but `deprecated`) or services. Names are resolved as protobuf scopes them. One thing is our
//! own: `extend NAME { … }` adds fields to a message of the crate's set, and types nested in it.

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, EnumValueDescriptorProto, FieldDescriptorProto, FieldOptions,
    FileDescriptorProto, MessageOptions, OneofDescriptorProto,
};

const SCALARS: [(&str, Type); 9] = [
    ("bool", Type::Bool),
    ("bytes", Type::Bytes),
    ("double", Type::Double),
    ("float", Type::Float),
    ("int32", Type::Int32),
    ("int64", Type::Int64),
    ("string", Type::String),
    ("uint32", Type::Uint32),
    ("uint64", Type::Uint64),
];

struct Source {
    /// In reverse, so that the next token is the last.
    tokens: Vec<String>,
}

/// A file, and what it adds to messages of other files, named by their full names.
pub(crate) struct Parsed {
    pub(crate) file: FileDescriptorProto,
    pub(crate) additions: Vec<DescriptorProto>,
}

/// Fields of message or enum type come back with their names as written: [`resolve`] needs every file first.
pub(crate) fn parse(name: &str, text: &str) -> Result<Parsed, String> {
    let mut source = Source { tokens: tokens(text) };
    source.tokens.reverse();
    let mut file = FileDescriptorProto {
        name: Some(name.into()),
        syntax: Some("proto3".into()),
        ..Default::default()
    };
    let mut additions = Vec::new();
    while let Some(keyword) = source.tokens.pop() {
        match keyword.as_str() {
            "package" => {
                file.package = Some(source.next()?);
                source.expect(";")?;
            }
            "message" => file.message_type.push(source.message()?),
            "extend" => additions.push(source.message()?),
            "enum" => file.enum_type.push(source.r#enum()?),
            other => return Err(format!("{name}: unexpected `{other}`")),
        }
    }
    Ok(Parsed { file, additions })
}

fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    for line in text.lines() {
        let mut rest = line.split("//").next().unwrap_or_default().trim_start();
        while let Some(first) = rest.chars().next() {
            let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
            let length = if is_word(first) {
                rest.find(|c| !is_word(c)).unwrap_or(rest.len())
            } else {
                first.len_utf8()
            };
            tokens.push(rest[..length].to_owned());
            rest = rest[length..].trim_start();
        }
    }
    tokens
}

impl Source {
    fn next(&mut self) -> Result<String, String> {
        self.tokens.pop().ok_or_else(|| "unexpected end of file".to_owned())
    }

    fn expect(&mut self, wanted: &str) -> Result<(), String> {
        let found = self.next()?;
        if found == wanted {
            Ok(())
        } else {
            Err(format!("expected `{wanted}`, found `{found}`"))
        }
    }

    fn number(&mut self) -> Result<i32, String> {
        self.expect("=")?;
        let number = self.next()?;
        number.parse().map_err(|_| format!("`{number}` is not a number"))
    }

    fn r#enum(&mut self) -> Result<EnumDescriptorProto, String> {
        let mut r#enum = EnumDescriptorProto {
            name: Some(self.next()?),
            ..Default::default()
        };
        self.expect("{")?;
        loop {
            let name = self.next()?;
            if name == "}" {
                return Ok(r#enum);
            }
            let number = Some(self.number()?);
            r#enum.value.push(EnumValueDescriptorProto {
                name: Some(name),
                number,
                options: None,
            });
            self.expect(";")?;
        }
    }

    fn message(&mut self) -> Result<DescriptorProto, String> {
        let mut message = DescriptorProto {
            name: Some(self.next()?),
            ..Default::default()
        };
        let mut oneof = None;
        self.expect("{")?;
        loop {
            match self.next()?.as_str() {
                "}" if oneof.is_some() => oneof = None,
                "}" => return Ok(message),
                "message" => message.nested_type.push(self.message()?),
                "enum" => message.enum_type.push(self.r#enum()?),
                "oneof" => {
                    oneof = Some(i32::try_from(message.oneof_decl.len()).map_err(|error| error.to_string())?);
                    message.oneof_decl.push(OneofDescriptorProto {
                        name: Some(self.next()?),
                        options: None,
                    });
                    self.expect("{")?;
                }
                "map" => self.map_field(&mut message)?,
                "repeated" => {
                    let r#type = self.next()?;
                    message.field.push(self.field(&r#type, Label::Repeated)?);
                }
                r#type => {
                    let field = self.field(r#type, Label::Optional)?;
                    message.field.push(FieldDescriptorProto {
                        oneof_index: oneof,
                        ..field
                    });
                }
            }
        }
    }

    fn field(&mut self, r#type: &str, label: Label) -> Result<FieldDescriptorProto, String> {
        let name = self.next()?;
        let number = self.number()?;
        let mut options = None;
        let mut end = self.next()?;
        if end == "[" {
            for token in ["deprecated", "=", "true", "]"] {
                self.expect(token)?;
            }
            options = Some(FieldOptions {
                deprecated: Some(true),
                ..Default::default()
            });
            end = self.next()?;
        }
        if end != ";" {
            return Err(format!("expected `;` after {name}, found `{end}`"));
        }
        Ok(FieldDescriptorProto {
            options,
            ..typed_field(&name, number, r#type, label)
        })
    }

    /// A map is a repeated message of a nested type that protoc makes up: so do we.
    fn map_field(&mut self, message: &mut DescriptorProto) -> Result<(), String> {
        self.expect("<")?;
        let key = self.next()?;
        self.expect(",")?;
        let value = self.next()?;
        self.expect(">")?;
        let field = self.field("", Label::Repeated)?;
        let entry = format!("{}Entry", camel_case(field.name()));
        message.nested_type.push(DescriptorProto {
            name: Some(entry.clone()),
            field: vec![
                typed_field("key", 1, &key, Label::Optional),
                typed_field("value", 2, &value, Label::Optional),
            ],
            options: Some(MessageOptions {
                map_entry: Some(true),
                ..Default::default()
            }),
            ..Default::default()
        });
        message.field.push(FieldDescriptorProto {
            type_name: Some(entry),
            ..field
        });
        Ok(())
    }
}

fn typed_field(name: &str, number: i32, r#type: &str, label: Label) -> FieldDescriptorProto {
    let mut field = FieldDescriptorProto {
        name: Some(name.into()),
        number: Some(number),
        ..Default::default()
    };
    field.set_label(label);
    match SCALARS.iter().find(|(scalar, _)| *scalar == r#type) {
        Some((_, scalar)) => field.set_type(*scalar),
        None => field.type_name = Some(r#type.into()),
    }
    field
}

fn camel_case(name: &str) -> String {
    let words = name.split('_').map(|word| word[..1].to_uppercase() + &word[1..]);
    words.collect()
}

/// Replaces names as written by full names, innermost scope first. `lookup` says whether a full name is a message, an enum or nothing,
/// and which file it is from.
pub(crate) fn resolve(
    file: &mut FileDescriptorProto,
    lookup: &dyn Fn(&str) -> Option<(Type, String)>,
) -> Result<(), String> {
    let mut dependencies = Vec::new();
    let scope = format!(".{}", file.package());
    for message in &mut file.message_type {
        resolve_message(&scope, message, lookup, &mut dependencies)?;
    }
    for dependency in dependencies {
        if dependency != file.name() && !file.dependency.contains(&dependency) {
            file.dependency.push(dependency);
        }
    }
    Ok(())
}

fn resolve_message(
    scope: &str,
    message: &mut DescriptorProto,
    lookup: &dyn Fn(&str) -> Option<(Type, String)>,
    dependencies: &mut Vec<String>,
) -> Result<(), String> {
    let scope = format!("{scope}.{}", message.name());
    for nested in &mut message.nested_type {
        resolve_message(&scope, nested, lookup, dependencies)?;
    }
    for field in message.field.iter_mut().filter(|field| field.r#type.is_none()) {
        let written = field.type_name().to_owned();
        let scopes = scope
            .match_indices('.')
            .map(|(dot, _)| &scope[..dot])
            .chain([scope.as_str()]);
        let candidates: Vec<String> = scopes.map(|scope| format!("{scope}.{written}")).collect();
        let found = candidates
            .iter()
            .rev()
            .find_map(|name| lookup(name).map(|(r#type, file)| (name, r#type, file)));
        let (name, r#type, file) =
            found.ok_or_else(|| format!("{scope}.{}: no type is named {written}", field.name()))?;
        field.set_type(r#type);
        field.type_name = Some(name.clone());
        dependencies.push(file);
    }
    Ok(())
}
