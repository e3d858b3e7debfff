//! What collectors received, in one shape for all of their formats.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::support::upstream::Received;

/// The spans of one request to a collector.
pub fn spans(received: &Received) -> Vec<Value> {
    let message = &received.message;
    let content_type = message.header("content-type").unwrap_or_default();
    if content_type == "application/json" {
        let spans: Vec<Value> = serde_json::from_slice(&message.body).unwrap();
        return spans.into_iter().map(of_json).collect();
    }
    if content_type == "application/grpc" {
        return otlp(&message.body[5..]);
    }
    if message.start.contains("/v1/traces") {
        return otlp(&message.body);
    }
    fields(&message.body)
        .iter()
        .map(|(_, span)| zipkin(span.bytes()))
        .collect()
}

fn of_json(mut span: Value) -> Value {
    let mut names = Vec::new();
    for annotation in span["annotations"].as_array().unwrap() {
        assert!(annotation["timestamp"].is_u64(), "{annotation}");
        names.push(annotation["value"].clone());
    }
    assert!(span["timestamp"].is_u64() && span["duration"].is_u64(), "{span}");
    let fields = span.as_object_mut().unwrap();
    fields.remove("timestamp");
    fields.remove("duration");
    fields.insert("annotations".into(), names.into());
    span
}

/// A field of a protobuf message.
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Field<'a> {
    fn bytes(&self) -> &'a [u8] {
        match self {
            Field::Bytes(bytes) => bytes,
            Field::Number(number) => panic!("{number} where bytes should be"),
        }
    }

    fn number(&self) -> u64 {
        match self {
            Field::Number(number) => *number,
            Field::Bytes(bytes) => panic!("{bytes:?} where a number should be"),
        }
    }

    fn text(&self) -> String {
        String::from_utf8(self.bytes().to_vec()).unwrap()
    }

    fn hex(&self) -> String {
        self.bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn fields(mut message: &[u8]) -> Vec<(u64, Field<'_>)> {
    let mut found = Vec::new();
    while !message.is_empty() {
        let key = varint(&mut message);
        let field = match key & 7 {
            0 => Field::Number(varint(&mut message)),
            1 => Field::Number(u64::from_le_bytes(take(&mut message, 8).try_into().unwrap())),
            2 => {
                let length = varint(&mut message) as usize;
                Field::Bytes(take(&mut message, length))
            }
            5 => Field::Number(u32::from_le_bytes(take(&mut message, 4).try_into().unwrap()).into()),
            wire_type => panic!("wire type {wire_type}"),
        };
        found.push((key >> 3, field));
    }
    found
}

fn varint(message: &mut &[u8]) -> u64 {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(message, 1)[0];
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    number
}

fn take<'a>(message: &mut &'a [u8], length: usize) -> &'a [u8] {
    let (taken, rest) = message.split_at(length);
    *message = rest;
    taken
}

/// `zipkin.proto3.Span`. Ids of spans have their lowest byte first.
fn zipkin(span: &[u8]) -> Value {
    let mut out = Map::new();
    let (mut tags, mut annotations) = (BTreeMap::new(), Vec::new());
    let reversed = |field: &Field<'_>| {
        let reversed: Vec<u8> = field.bytes().iter().rev().copied().collect();
        Field::Bytes(&reversed).hex()
    };
    for (number, field) in fields(span) {
        let (name, value) = match number {
            1 => ("traceId", json!(field.hex())),
            2 => ("parentId", json!(reversed(&field))),
            3 => ("id", json!(reversed(&field))),
            4 => ("kind", json!(field.number())),
            5 => ("name", json!(field.text())),
            6 | 7 => {
                assert!(field.number() > 0, "{number}");
                continue;
            }
            8 => ("localEndpoint", json!(field.hex())),
            10 => {
                annotations.push(fields(field.bytes())[1].1.text());
                continue;
            }
            11 => {
                let entry = fields(field.bytes());
                tags.insert(entry[0].1.text(), entry[1].1.text());
                continue;
            }
            13 => ("shared", json!(field.number())),
            other => panic!("field {other} of a span"),
        };
        out.insert(name.into(), value);
    }
    out.insert("tags".into(), json!(tags));
    out.insert("annotations".into(), json!(annotations));
    out.into()
}

/// `ExportTraceServiceRequest`.
fn otlp(request: &[u8]) -> Vec<Value> {
    let mut spans = Vec::new();
    for (_, of_resource) in fields(request) {
        let mut resource = json!(null);
        for (number, field) in fields(of_resource.bytes()) {
            if number == 1 {
                resource = attributes(fields(field.bytes()).iter().map(|(_, field)| field.bytes()));
                continue;
            }
            assert_eq!(number, 2, "a field of ResourceSpans");
            let mut scope = json!(null);
            for (number, field) in fields(field.bytes()) {
                if number == 1 {
                    // The version is each proxy's own.
                    scope = json!(fields(field.bytes())[0].1.text());
                    continue;
                }
                let mut span = otlp_span(field.bytes());
                span["resource"] = resource.clone();
                span["scope"] = scope.clone();
                spans.push(span);
            }
        }
    }
    spans
}

fn otlp_span(span: &[u8]) -> Value {
    let mut out = Map::new();
    let (mut tags, mut events) = (Vec::new(), Vec::new());
    for (number, field) in fields(span) {
        let (name, value) = match number {
            1 => ("traceId", json!(field.hex())),
            2 => ("id", json!(field.hex())),
            3 => ("tracestate", json!(field.text())),
            4 => ("parentId", json!(field.hex())),
            5 => ("name", json!(field.text())),
            6 => ("kind", json!(field.number())),
            7 | 8 => {
                assert!(field.number() > 0, "{number}");
                continue;
            }
            9 => {
                tags.push(field.bytes());
                continue;
            }
            11 => {
                events.push(fields(field.bytes())[1].1.text());
                continue;
            }
            15 => {
                let code = fields(field.bytes()).first().map_or(0, |(_, code)| code.number());
                ("status", json!(code))
            }
            16 => ("flags", json!(field.number())),
            other => panic!("field {other} of a span"),
        };
        out.insert(name.into(), value);
    }
    out.insert("tags".into(), attributes(tags.into_iter()));
    out.insert("annotations".into(), json!(events));
    out.into()
}

fn attributes<'a>(pairs: impl Iterator<Item = &'a [u8]>) -> Value {
    let mut out = BTreeMap::new();
    for pair in pairs {
        let pair = fields(pair);
        let (name, any) = (pair[0].1.text(), fields(pair[1].1.bytes()));
        let value = match any.first() {
            None => json!(""),
            Some((1, text)) => json!(text.text()),
            Some((kind, number)) => json!([kind, number.number()]),
        };
        let value = if name == "telemetry.sdk.version" {
            json!("is there")
        } else {
            value
        };
        assert!(out.insert(name, value).is_none(), "an attribute twice");
    }
    json!(out)
}
